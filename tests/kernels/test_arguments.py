"""Unfit arguments raise before anything is written; nothing outside the arrays is touched."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.kernels.exact import case_of

from lorabank.kernels import Kernel

REFUSED = (TypeError, ValueError, BufferError, IndexError)
F32 = np.float32


def arguments(name: str) -> dict[str, Any]:
    """Fit arguments of a method, in order."""
    c = case_of(3, 8, 2, 0)
    slabs, ones = (np.ones((4, 32), F32), np.ones((4, 32), F32)), np.ones(3)
    one = {"A": c.A, "B": c.B, "scale": 1.0}
    batch = {"X": c.X, "T": c.T, "weights": np.ones(3, F32)}
    outputs = {"A_out": np.zeros_like(c.A), "B_out": np.zeros_like(c.B)}
    slots = np.arange(3)
    return {
        "forward": {**one, "X": c.X, "out": np.zeros_like(c.X)},
        "mse_sums": batch,
        "mse_loss": {**one, **batch},
        "mse_gradient": {**one, **batch, "energy": 1.0, **outputs},
        "mse_update": {**one, **batch, "energy": 1.0, "rate": 0.1, "clip": 1.0, **outputs},
        "forward_many": {
            "slabs": slabs, "rank": 2, "slots": slots, "scales": ones, "rows": np.arange(3),
            "X": c.X, "out": np.zeros_like(c.X),
        },
        "mse_update_many": {
            "slabs": slabs, "rank": 2, "sources": slots, "targets": slots + 4, "scales": ones,
            "rates": ones, "clips": ones, "stretches": np.arange(3)[:, None] + np.arange(2),
            **batch, "results": np.zeros((3, 3)),
        },
    }[name]  # fmt: skip


METHODS = ["forward", "mse_sums", "mse_loss", "mse_gradient", "mse_update"]
MANY = ["forward_many", "mse_update_many"]


def spoilt(value: Any) -> dict[str, Any]:
    """Unfit versions of an array."""
    flat = value.reshape(-1)
    unaligned = np.frombuffer(b"x" + value.tobytes(), np.uint8)[1:].view(value.dtype)
    return {
        "another type": value.astype(np.float16),
        "bytes": value.view(np.uint8),
        "byte order": value.astype(value.dtype.newbyteorder(">")),
        "longer": np.concatenate([flat, flat[:1]]).reshape(-1) if value.ndim == 1
        else np.concatenate([value, value[:, :1]], axis=1),
        "shorter": value[..., :-1].copy(),
        "strided": np.repeat(value, 2, axis=-1)[..., ::2],
        "three dimensions": value[None, None] if value.ndim == 1 else value[None],
        "empty": value[:0],
        "unaligned": unaligned.reshape(value.shape),
    }  # fmt: skip


def arrays_of(name: str) -> list[str]:
    return [key for key, value in arguments(name).items() if isinstance(value, np.ndarray)]


@pytest.mark.parametrize("name", METHODS + MANY)
def test_fit_arguments_are_taken(kernel: Kernel, name: str) -> None:
    getattr(kernel, name)(*arguments(name).values())


@pytest.mark.parametrize(
    ("name", "field", "how"),
    [
        (name, field, how)
        for name in METHODS + MANY
        for field in arrays_of(name)
        for how in spoilt(np.zeros((2, 2), F32))
    ],
)
def test_unfit_arrays_are_refused(kernel: Kernel, name: str, field: str, how: str) -> None:
    given = arguments(name)
    given[field] = spoilt(given[field])[how]
    outputs = [key for key in ("out", "A_out", "B_out", "results") if key in given]
    before = {key: given[key].tobytes() for key in outputs}
    with pytest.raises(REFUSED):
        getattr(kernel, name)(*given.values())
    assert {key: given[key].tobytes() for key in outputs} == before


@pytest.mark.parametrize("name", ["forward", "mse_gradient", "mse_update", *MANY])
def test_read_only_outputs_are_refused(kernel: Kernel, name: str) -> None:
    for field in {"out", "A_out", "B_out", "results"} & set(arguments(name)):
        given = arguments(name)
        given[field].flags.writeable = False
        with pytest.raises(REFUSED):
            getattr(kernel, name)(*given.values())


def test_outputs_that_share_memory_are_refused(kernel: Kernel) -> None:
    given = arguments("forward")
    with pytest.raises(ValueError, match="shares memory"):
        kernel.forward(given["A"], given["B"], 1.0, given["X"], given["X"])
    given = arguments("mse_update")
    given["A_out"] = given["A"]
    with pytest.raises(ValueError, match="shares memory"):
        kernel.mse_update(*given.values())
    given = arguments("forward_many")
    given["out"] = given["slabs"][1][:1, :24].reshape(3, 8)
    with pytest.raises(ValueError, match="shares memory"):
        kernel.forward_many(*given.values())


@pytest.mark.parametrize("slot", [-1, 8, 2**62, -(2**63)])
@pytest.mark.parametrize(("name", "field"), [
    ("forward_many", "slots"), ("forward_many", "rows"),
    ("mse_update_many", "sources"), ("mse_update_many", "targets"),
])  # fmt: skip
def test_slots_outside_the_slabs_are_refused(
    kernel: Kernel, name: str, field: str, slot: int
) -> None:
    given = arguments(name)
    given[field] = np.array([0, 1, slot])
    with pytest.raises(IndexError):
        getattr(kernel, name)(*given.values())


@pytest.mark.parametrize("bad", [(3, 4), (1, 1), (2, 1), (-1, 1), (0, 2**62), (-(2**63), 1)])
def test_stretches_outside_the_rows_are_refused(kernel: Kernel, bad: tuple[int, int]) -> None:
    given = arguments("mse_update_many")
    given["stretches"][1] = bad
    with pytest.raises(IndexError, match="stretch"):
        kernel.mse_update_many(*given.values())


@pytest.mark.parametrize("rank", [0, -1, 3, 9, 2**40])
@pytest.mark.parametrize("name", MANY)
def test_ranks_that_do_not_fit_the_blocks_are_refused(kernel: Kernel, name: str, rank: int) -> None:
    given = arguments(name)
    given["rank"] = rank
    with pytest.raises(ValueError, match="slab"):
        getattr(kernel, name)(*given.values())


@pytest.mark.parametrize("name", METHODS + MANY)
@pytest.mark.parametrize("junk", [None, "text", 3, object(), (), [1.0]])
def test_compiled_ones_refuse_anything_else(compiled: Kernel, name: str, junk: object) -> None:
    for field in arguments(name):
        numbers = ("scale", "energy", "rate", "clip", "rank")
        if (field in numbers and junk == 3) or (field == "weights" and junk is None):
            continue
        given = arguments(name) | {field: junk}
        with pytest.raises(REFUSED):
            getattr(compiled, name)(*given.values())
    with pytest.raises(TypeError):
        getattr(compiled, name)()


def test_nothing_beyond_the_arrays_is_read_or_written() -> None:
    """Each array ends, then begins, at memory that no process may touch."""
    script = Path(__file__).with_name("fenced.py")
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith("untouched")


def test_others_run_during_a_long_call(compiled: Kernel) -> None:
    """This thread sees a result that is begun and not ended: only without the GIL can it."""
    c = case_of(1, 256, 8, 0)
    for rows in (20_000, 80_000, 320_000):
        X = np.ones((rows, 256), F32)
        out = np.zeros_like(X)
        worker = threading.Thread(target=compiled.forward, args=(c.A, c.B, 1.0, X, out))
        worker.start()
        while not out[0, 0] and worker.is_alive():
            pass
        halfway = bool(out[0, 0]) and not out[-1, -1]
        worker.join(60)
        if halfway:
            return
    pytest.fail("no call was ever seen half done")


def test_kernels_can_be_copied_and_sent_elsewhere(kernel: Kernel) -> None:
    assert type(copy.deepcopy(kernel)) is type(kernel)
    assert type(pickle.loads(pickle.dumps(kernel))) is type(kernel)
