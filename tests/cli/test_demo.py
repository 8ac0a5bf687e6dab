"""The real command on the real data, once, as a newcomer runs it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from lorabank.types.strategy import ArmEffect, Estimate

ARM = ArmEffect("learning_rate", 2.0, 0.01, 0.004, 0.001, 0.02, 50, 20, 0.99)
DOCS = Path(__file__).parent.parent.parent / "docs" / "demo.md"


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> tuple[subprocess.CompletedProcess[str], str]:
    """The finished process, and the report that it wrote."""
    folder = tmp_path_factory.mktemp("demo")
    done = subprocess.run(
        [sys.executable, "-m", "lorabank", "demo", "--quick", "--json", "--out", "r.html"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done, (folder / "r.html").read_text()


Quick = tuple[subprocess.CompletedProcess[str], str]


@pytest.mark.timeout(400)
def test_stdout_is_one_json_object_and_stderr_is_quiet(quick: Quick) -> None:
    done, _ = quick
    result = json.loads(done.stdout)
    assert done.stdout.count("\n") == 1
    assert result["runs"][0]["setup"]["quick"] is True
    assert not re.search(r"Traceback|[Ww]arning|[Ee]rror", done.stderr)


@pytest.mark.timeout(400)
def test_new_users_are_better_off_with_the_bank(quick: Quick) -> None:
    result = json.loads(quick[0].stdout)
    methods = {method["key"]: method for method in result["runs"][0]["methods"]}
    assert methods["with_bank"]["ndcg_vs_blend"]["lower"] > 0
    assert result["runs"][0]["episodes"]["lost"] == 0


@pytest.mark.timeout(400)
def test_report_is_one_file(quick: Quick) -> None:
    html = quick[1]
    assert html.startswith("<!DOCTYPE html>")
    assert not re.search(r"(src|href)\s*=\s*[\"']https?:", html)


@pytest.mark.timeout(400)
def test_every_key_of_the_json_is_documented_and_no_other(quick: Quick) -> None:
    documented = set(re.findall(r"^\| `([^`]+)` \|", DOCS.read_text(), re.MULTILINE))
    result = json.loads(quick[0].stdout)
    # A quick run has too few trials for effects; a whole run's may be confirmed or not.
    for arm in (ARM, replace(ARM, fold_lower=0.001, confirmed=Estimate(0.01, 0.001, 0.02, 9))):
        result["runs"].append({"arms": [asdict(arm)]})
    assert sorted(set(paths(result)) ^ documented) == []


def paths(value: Any, path: str = "") -> list[str]:
    """Every leaf, such as ``runs[].setup.seed``."""
    if isinstance(value, dict):
        return [p for key, v in value.items() for p in paths(v, f"{path}.{key}" if path else key)]
    if isinstance(value, list):
        return [p for v in value for p in paths(v, f"{path}[]")]
    return [path]
