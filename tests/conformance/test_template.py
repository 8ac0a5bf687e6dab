"""The template that authors start from: proved by the kit, small, and what the page says of it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from lorabank import BankUnavailableError, BankUrl, InvalidInputError
from lorabank_conformance import Opener, PatternStoreConformance
from lorabank_template.plugin import open_store
from lorabank_template.store import SqliteStore

ROOT = Path(__file__).parents[2]
TEMPLATE = ROOT / "docs" / "backend-template"
PAGE = (ROOT / "docs" / "writing-a-backend.md").read_text()


class TestTemplate(PatternStoreConformance):
    """`template:///path/to/bank.db`; as an installed wheel it is proved by .ci/prove_template."""

    crowd = 300
    load = 500
    histories = 8

    @pytest.fixture
    def opener(self, tmp_path: Path) -> Opener:
        """A file of its own for every test."""
        return lambda: open_store(BankUrl.parse(f"template://{tmp_path.as_posix()}/bank.db"))


async def test_a_file_that_can_not_be_opened_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(BankUnavailableError):
        async with open_store(BankUrl.parse(f"template://{tmp_path.as_posix()}/no/bank.db")):
            pass
    (tmp_path / "text.db").write_text("this is no database, " * 100)
    with pytest.raises(BankUnavailableError):
        await SqliteStore(str(tmp_path / "text.db")).load()


@pytest.mark.parametrize("url", ["template://", "template://host/a.db", "template:///a.db?b=c"])
async def test_a_wrong_url_is_refused(url: str) -> None:
    with pytest.raises(InvalidInputError, match="template:///path"):
        async with open_store(BankUrl.parse(url)):
            pass


def test_the_backend_is_under_150_lines_of_code() -> None:
    sources = sorted((TEMPLATE / "src").rglob("*.py"))
    assert sum(len(lines_of_code(source.read_text())) for source in sources) < 150


def test_the_page_runs_in_ci_and_names_files_that_exist() -> None:
    assert (ROOT / ".ci" / "prove_template").stat().st_mode & 0o100
    files = re.findall(r"^\| `([\w./]+\.\w+)` \|", PAGE, re.MULTILINE)
    assert len(files) == 4
    for name in files:
        assert (TEMPLATE / name.replace("mine", "template")).is_file(), name


def test_the_page_names_settings_of_the_suites() -> None:
    (named,) = re.findall(r"tune it\s\((.*?), \.\.\.\)", PAGE)
    for setting in re.findall(r"`(\w+)`", named):
        assert hasattr(PatternStoreConformance, setting), setting


def lines_of_code(source: str) -> set[int]:
    """Numbers of the lines that hold code: no blank lines, comments or docstrings."""
    tree = ast.parse(source)
    documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    docstrings = {
        number
        for node in ast.walk(tree)
        if isinstance(node, documented) and ast.get_docstring(node) is not None
        for number in range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1)
    }
    text = {n for n, line in enumerate(source.splitlines(), 1) if line.split("#")[0].strip()}
    return text - docstrings
