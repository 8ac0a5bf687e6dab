"""A run that ended too early, and the next one with the same settings on the same bank."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from tests.support.made_up_ratings import made_up_data

from lorabank import open_bank
from lorabank.demo.place import place_for
from lorabank.demo.results import Run
from lorabank.demo.run import run
from lorabank.demo.settings import DemoSettings
from lorabank.demo.work import OnProgress

SETTINGS = DemoSettings(rank=4, tuning_events=2, online_rates=())
# What depends on how fast it ran, or tells how it went on.
APART = ("cold_ms", "warm_ms", "without_bank_ms")
COUNTED = ("continued", "hinted", "cache_hits", "cache_misses", "cache_hit_rate")


class StoppedError(Exception):
    """Stands for whatever ends a run."""


def stop_at(stage: str, done: int) -> OnProgress:
    def tell(at: str, so_far: int, total: int) -> None:
        if (at, so_far) == (stage, done):
            raise StoppedError

    return tell


@pytest.fixture
def bank(tmp_path: Path) -> str:
    return made(tmp_path / "a bank #1")


def made(directory: Path) -> str:
    """The URL of a new bank there."""
    url = f"faiss://{str(directory).replace(' ', '%20').replace('#', '%23')}"

    async def make() -> None:
        async with open_bank(url):
            pass

    anyio.run(make)
    return url


def a_run(bank: str, on_progress: OnProgress = lambda *_: None) -> tuple[Run, list[str]]:
    notes: list[str] = []
    settings = dataclasses.replace(SETTINGS, bank=bank)
    return anyio.run(run, made_up_data(), settings, on_progress, notes.append), notes


def findings(result: Run) -> dict[str, Any]:
    """All that has to be the same."""
    plain = dataclasses.asdict(result)
    del plain["seconds"], plain["setup"]["bank"]
    for key in (*APART, *COUNTED):
        del plain["updates"][key]
    return plain


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Run]:
    """A run that was not stopped, and its bank."""
    bank = made(tmp_path_factory.mktemp("whole") / "bank")
    result, notes = a_run(bank)
    assert (result.updates.continued, notes) == (0, [])
    assert result.skills.started_from == result.setup.users_new
    return bank, result


@pytest.mark.parametrize(
    ("stage", "done", "known"),
    [("replay", 50, 50), ("consolidate", 1, None), ("with_bank", 10, None)],
)
def test_it_ends_as_if_it_had_not_been_stopped(
    stage: str, done: int, known: int | None, bank: str, finished: tuple[str, Run]
) -> None:
    _, whole = finished
    with pytest.raises(StoppedError):
        a_run(bank, stop_at(stage, done))
    continued, notes = a_run(bank)
    assert findings(continued) == findings(whole)
    known = continued.updates.past if known is None else known
    assert continued.updates.continued == known
    told = f"continuing: {known} of {whole.updates.past} past users' batches are learned already"
    assert notes == [told]


def test_a_finished_run_is_not_gone_on_with(finished: tuple[str, Run]) -> None:
    bank, _ = finished
    again, notes = a_run(bank)
    assert (again.updates.continued, notes) == (0, [])
    assert again.episodes.held == again.episodes.made


def test_what_is_done_leaves_no_file(tmp_path: Path) -> None:
    with place_for(f"faiss://{tmp_path}", "run", 1.0) as place:
        assert place.file is not None
        place.file.touch()
    assert list(tmp_path.iterdir()) == []


def test_a_run_under_way_is_left_alone(tmp_path: Path) -> None:
    url = f"faiss://{tmp_path}"
    with unfinished(url) as namespace, place_for(url, "run", 2.0) as other:
        assert other.namespace != namespace
        assert not other.continued
    with place_for(url, "run", 3.0) as place:
        assert (place.namespace, place.continued) == (namespace, True)


def test_work_of_another_kind_is_not_gone_on_with(tmp_path: Path) -> None:
    url = f"faiss://{tmp_path}"
    with unfinished(url):
        pass
    with place_for(url, "another", 2.0) as place:
        assert not place.continued


@pytest.mark.parametrize("bank", ["memory://", "http://somewhere/tmp", "faiss:///not/there"])
def test_without_a_directory_nothing_is_kept(bank: str) -> None:
    with place_for(bank, "run", 1.0) as place:
        assert (place.file, place.continued) == (None, False)


@contextmanager
def unfinished(bank: str) -> Iterator[str]:
    """A run under way, which then ends too early."""
    try:
        with place_for(bank, "run", 1.0) as place:
            assert place.file is not None
            place.file.touch()
            yield place.namespace
            raise StoppedError
    except StoppedError:
        pass
