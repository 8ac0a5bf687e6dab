"""The command line, without the long way through the data."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

import lorabank
from lorabank.cli import command
from lorabank.cli.report_file import check_writable


def failure(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What a failing command says, on stderr alone."""
    assert command.run(arguments) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "Traceback" not in said.err
    return said.err


@pytest.fixture
def only_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if no other backend were installed."""
    monkeypatch.setattr(
        "lorabank.bank.discovery.entry_points",
        lambda **group: [point for point in entry_points(**group) if point.name == "memory"],
    )


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.run(["--version"]) == 0
    assert lorabank.__version__ in capsys.readouterr().out


@pytest.mark.usefixtures("only_memory")
def test_plugins_lists_installed_and_installable(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.run(["plugins"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any("memory://" in line and "installed" in line for line in lines)
    assert any("pip install lorabank-agentic-flow" in line for line in lines)
    assert all(len(line) <= 80 for line in lines)


def test_plugins_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.run(["plugins", "--json"]) == 0
    listed = {entry["scheme"]: entry for entry in json.loads(capsys.readouterr().out)}
    assert listed["memory"]["installed"]
    assert listed["agentic-flow+stdio"]["distribution"] == "lorabank-agentic-flow"


@pytest.mark.usefixtures("only_memory")
def test_a_backend_that_is_not_installed(capsys: pytest.CaptureFixture[str]) -> None:
    said = failure(capsys, "demo", "--no-report", "--bank", "agentic-flow+http://localhost")
    assert "pip install lorabank-agentic-flow" in said
    assert len([line for line in said.splitlines() if line.startswith("lorabank:")]) == 1


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--bank", "nonsense"], "memory://"),
        (["--bank", "memorry://"], "did you mean 'memory'?"),
        (["--users", "-3"], "users: got -3, expected an integer >= 50"),
        (["--seed", "-1"], "seed"),
        (["--seeds", "0"], "--seeds"),
        (["--frobnicate"], "--frobnicate"),
    ],
)
def test_bad_options_are_one_clean_error(
    capsys: pytest.CaptureFixture[str], arguments: list[str], reason: str
) -> None:
    assert reason in failure(capsys, "demo", "--no-report", *arguments)


def test_a_report_that_can_not_be_written_is_said_before_the_work(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    said = failure(capsys, "demo", "--out", str(tmp_path / "no" / "such" / "report.html"))
    assert "no folder" in said
    too_long = tmp_path / ("x" * 300)
    for arguments in (["demo"], ["evaluate", "movielens"]):
        said = failure(capsys, *arguments, "--out", str(too_long))
        assert "--out" in said
        assert "can't be written: File name too long" in said


def test_asking_whether_a_report_can_be_written_leaves_what_is_there(tmp_path: Path) -> None:
    old, new = tmp_path / "old.html", tmp_path / "new.html"
    old.write_text("as it was")
    check_writable(old)
    check_writable(new)
    assert old.read_text() == "as it was"
    assert not new.exists()


def test_the_list_of_commands_fits_on_a_screen(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.run(["--help"]) == 0
    said = capsys.readouterr().out
    assert "..." not in said.partition("Commands:")[2]
    assert all(len(line) <= 80 for line in said.splitlines())


@pytest.mark.parametrize("missing", ["click", "rich"])
def test_without_its_extra_the_command_says_what_to_install(missing: str) -> None:
    script = (
        f"import sys; sys.modules[{missing!r}] = None\n"
        "from lorabank.__main__ import main; sys.exit(main())"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "pip install 'lorabank[cli]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_without_the_demo_extra_the_demo_says_what_to_install(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lorabank.demo.make.NEEDED", ("no_such_package",))
    assert "pip install 'lorabank[demo]'" in failure(capsys, "demo", "--no-report")


def test_importing_the_core_imports_neither_cli_nor_demo() -> None:
    script = (
        "import sys, lorabank; "
        "print([m for m in ('click', 'matplotlib', 'jinja2', 'lorabank.demo', "
        "'lorabank.cli', 'lorabank.evaluation') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_main_is_a_module_too(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "lorabank", "--version"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
