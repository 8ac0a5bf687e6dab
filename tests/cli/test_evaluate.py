"""``lorabank evaluate`` on files, from the command line to the page."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from tests.support.made_up_log import made_up

from lorabank.cli import command

DOCS = Path(__file__).parent.parent.parent / "docs" / "evaluate.md"
MALFORMED = "u1,i1\nu1,nowhere,5,3\nu1,i1,never,3\n"


def evaluate(folder: Path, *options: str) -> int:
    log, items = folder / "log.csv", folder / "items.npz"
    return command.run(["evaluate", str(log), str(items), "--quick", "--like", "3", *options])


@pytest.fixture
def files(tmp_path: Path) -> Path:
    log, _ = made_up(users=130, items=60, rows=20).write(tmp_path)
    log.write_text(log.read_text() + MALFORMED)
    return tmp_path


def keys_of(value: Any, inside: str = "") -> set[str]:
    """Every key of every object, but for those that are data (methods, reasons, choices)."""
    if isinstance(value, list):
        return set().union(*(keys_of(item, inside) for item in value))
    if not isinstance(value, dict):
        return set()
    if inside in {"skipped", "items_skipped", "choices", "nll", "gain"} and "mean" not in value:
        return set()
    return set(value).union(*(keys_of(item, key) for key, item in value.items()))


@pytest.mark.parametrize("split", ["users", "temporal"])
def test_json_and_page(files: Path, split: str, capsys: pytest.CaptureFixture[str]) -> None:
    page = files / "page.html"
    assert evaluate(files, "--split", split, "--json", "--out", str(page)) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["data"]["skipped"] == {
        "another number of columns than the header": 1,
        "item_id not in the catalogue": 1,
        "timestamp is not a number or date": 1,
    }
    assert (result["seeds"][0]["cut"] is None) == (split == "users")
    methods = {method["key"]: method for method in result["methods"]}
    assert {"popularity", "knn", "shared", "everything", "shuffled_bank"} <= set(methods)
    assert result["excess_over_identity"] <= result["excess_bound"] + 1e-3
    assert len(result["best_single"]["experts"]) == 1
    assert len(result["marks"]) == 12
    html = page.read_text()
    assert html.startswith("<!DOCTYPE html>")
    assert html.count("<svg") == html.count('<div class="wide"><svg') == 2
    assert "min-width: 40rem" in html
    assert not re.search(r"(src|href)\s*=\s*[\"']https?:", html)
    text = DOCS.read_text()
    assert [key for key in sorted(keys_of(result)) if f"`{key}`" not in text] == []
    assert [key for key in methods if f"`{key}`" not in text] == []


def test_table_fits_eighty_columns_and_says_what_was_left_out(
    files: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert evaluate(files, "--no-report", "--seeds", "2") == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    assert "…" not in out
    assert "3 of 2," in out.replace("\n", " ")
    assert "2 seeds" in out
    assert out.count("\n  wanted: ") == out.count("\n  found:  ") == 12
    assert re.search(r"The bank (helps|does not help)", out)
    assert not (files / "lorabank-evaluation.html").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere.csv", "items.csv"], "INTERACTIONS"),
        (["log.csv", "nowhere.npz"], "nowhere.npz"),
        (["netflix"], "movielens, groceries"),
        (["movielens", "items.csv"], "'movielens' is a built-in log"),
        (["log.csv", "log.csv"], "item_id"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    files: Path,
    arguments: list[str],
    words: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(files)
    (files / "log.csv").write_text("user_id,item_id,when\nu,i,1\n")
    (files / "items.csv").write_text("item_id,title\ni,x\n")
    code = command.run(["evaluate", *arguments, "--no-report"])
    err = capsys.readouterr().err
    assert code == 2
    last = err.strip().splitlines()[-1]
    assert last.startswith("lorabank: ")
    assert words in last or "'when'" in last


def test_positions_can_not_be_split_in_time(
    files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = files / "log.csv"
    log.write_text(log.read_text().replace("timestamp", "pos", 1))
    assert evaluate(files, "--split", "temporal", "--no-report") == 2
    assert "timestamps" in capsys.readouterr().err
