"""Choosing a kernel, and doing without one."""

from __future__ import annotations

import shutil
import sys
from importlib.metadata import EntryPoint

import pytest

from lorabank.errors import InvalidInputError
from lorabank.kernels import NUMPY, choice, list_kernels, open_kernel


def test_the_compiled_kernel_was_built_where_there_is_a_compiler() -> None:
    if not (shutil.which("gcc") or shutil.which("clang")):
        pytest.skip("no compiler here")
    assert open_kernel("compiled").name.startswith("compiled (")
    assert open_kernel("auto").name == open_kernel("compiled").name


def test_numpy_is_always_there() -> None:
    assert open_kernel("numpy") is NUMPY
    assert "numpy" in list_kernels()


def test_an_unknown_name_says_what_is_there() -> None:
    with pytest.raises(InvalidInputError, match=r"auto, .*numpy.*pip install lorabank-kernels"):
        open_kernel("cuda")


def test_without_the_distribution_auto_is_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "entry_points", lambda **_: ())
    assert open_kernel("auto") is NUMPY
    with pytest.raises(InvalidInputError, match="pip install lorabank-kernels"):
        open_kernel("compiled")


def test_a_distribution_that_was_not_compiled_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("compiled", "lorabank_kernels:load", choice.GROUP)
    monkeypatch.setattr(choice, "entry_points", lambda **_: (point,))
    monkeypatch.setitem(sys.modules, "lorabank_kernels._lora", None)
    monkeypatch.delitem(sys.modules, "lorabank_kernels.compiled", raising=False)
    assert open_kernel("auto") is NUMPY
    with pytest.raises(InvalidInputError, match="can be loaded: the compiled part"):
        open_kernel("compiled")
