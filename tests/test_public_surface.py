"""What users import: complete, documented, typed, and free of import-time work."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path

import lorabank

ROOT = Path(__file__).parent.parent
GATE = ROOT / ".ci" / "try_pythons"


def test_everything_exported_exists_and_has_a_docstring() -> None:
    for name in lorabank.__all__:
        thing = getattr(lorabank, name)
        assert inspect.getdoc(thing), f"{name} has no docstring"


def test_public_methods_have_docstrings() -> None:
    for name in lorabank.__all__:
        thing = getattr(lorabank, name)
        if not inspect.isclass(thing) or not thing.__module__.startswith("lorabank"):
            continue
        for member, value in vars(thing).items():
            if not member.startswith("_") and inspect.isfunction(value):
                assert inspect.getdoc(value), f"{name}.{member} has no docstring"


def test_engine_keeps_its_public_names() -> None:
    names = {
        "create_adapter",
        "update_adapter",
        "connect_reasoning_bank",
        "disconnect_reasoning_bank",
        "has_reasoning_bank",
        "get_similar_adaptations",
        "consolidate_adaptation_patterns",
        "merge_adapters",
        "stats",
    }
    assert names <= set(dir(lorabank.LoRAPersonalizationEngine))


def test_every_distribution_is_typed() -> None:
    modules = [
        *ROOT.glob("packages/*/src/*/__init__.py"),
        *ROOT.glob("plugins/*/src/*/__init__.py"),
    ]
    sources = [module.parent for module in modules]
    assert sources
    assert [path.name for path in sources if not (path / "py.typed").exists()] == []


def test_every_distribution_names_the_pythons_that_the_gate_looks_for() -> None:
    (looked_for,) = re.findall(r"^for version in (.*); do$", GATE.read_text(), re.MULTILINE)
    projects = [*ROOT.glob("packages/*/pyproject.toml"), *ROOT.glob("plugins/*/pyproject.toml")]
    assert len(projects) > 5
    for project in projects:
        named = re.findall(r'"Programming Language :: Python :: (3\.\d+)"', project.read_text())
        assert named == looked_for.split(), project


def test_importing_the_core_imports_no_extra_and_no_backend() -> None:
    code = (
        "import sys, lorabank; "
        "heavy = {'click', 'jinja2', 'matplotlib', 'pandas', 'lorabank_memory'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "[]"
