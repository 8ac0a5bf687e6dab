"""What SQL in the sources may not do, as some supported Python complains of it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
SOURCES = ["packages/*/src", "plugins/*/src", "docs/backend-template/src"]


def strings_of(source: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def test_parameters_have_no_numbers() -> None:
    # The first releases of Python 3.12 warn of ?1 (python/cpython#117995, repaired since).
    files = [path for part in SOURCES for path in ROOT.glob(f"{part}/**/*.py")]
    statements = [(path, text) for path in files for text in strings_of(path) if "WHERE " in text]
    assert len(statements) > 20
    assert [(path, text) for path, text in statements if re.search(r"\?\d", text)] == []
