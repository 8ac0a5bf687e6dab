"""What is kept on disk comes back, whatever the file looks like."""

from __future__ import annotations

import gc
import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from lorabank_agentic_flow.journal import Entry, Journal, Removed, Stored
from lorabank_agentic_flow.journal_file import JournalFile
from lorabank_agentic_flow.planning import as_episode
from lorabank_agentic_flow.records import PATTERN, Key, Record
from lorabank_conformance.samples import NAMESPACE
from tests.agentic_flow.samples import pattern


def stored(number: int, at: float) -> tuple[Key, Entry]:
    """A version of the pattern of this number."""
    record = Record(f"{number:016x}-00000000", pattern(number))
    return record.key, Stored(record.revision, at, as_episode(record))


def removed(number: int, at: float) -> tuple[Key, Entry]:
    """The end of that pattern."""
    return Key(PATTERN, NAMESPACE, f"p{number:03}"), Removed(f"{number:016x}-00000000", at)


def told(entries: list[tuple[Key, Entry]]) -> list[tuple[Key, str, float]]:
    """What can be compared."""
    return [(key, entry.revision, entry.at) for key, entry in entries]


def test_what_was_written_is_read_in_order(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    file = JournalFile(path)
    assert file.read() == []
    file.append([stored(1, 1.5), removed(2, 2.0)])
    file.append([stored(3, float("inf"))])
    assert path.stat().st_mode & 0o777 == 0o600
    found = JournalFile(path).read()
    assert told(found) == told([stored(1, 1.5), removed(2, 2.0), stored(3, float("inf"))])
    assert found[0][1].episode == stored(1, 1.5)[1].episode  # type: ignore[union-attr]


def test_a_file_that_is_needed_no_more_goes(tmp_path: Path) -> None:
    file = JournalFile(tmp_path / "journal")
    file.append([stored(1, 1.0)])
    assert file.outgrown(0)
    assert not file.outgrown(1000)
    file.replace([stored(2, 2.0)])
    assert told(file.read()) == told([stored(2, 2.0)])
    file.replace([])
    assert not list(tmp_path.iterdir())


def test_a_line_that_was_cut_short_is_left_out_and_spoils_no_other(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    JournalFile(path).append([stored(1, 1.0), stored(2, 2.0)])
    whole = path.read_bytes()
    for lost in (1, 5, 100, len(whole) // 3):
        path.write_bytes(whole[:-lost])
        JournalFile(path).append([removed(3, 3.0)])
        expected = [stored(1, 1.0), *([stored(2, 2.0)] if lost == 1 else []), removed(3, 3.0)]
        assert told(JournalFile(path).read()) == told(expected)


@given(st.binary(max_size=300))
def test_any_file_can_be_read(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as place:
        path = Path(place, "journal")
        path.write_bytes(data)
        assert JournalFile(path).read() == []


def test_only_what_is_new_is_written_and_a_version_stored_again_counts_as_new() -> None:
    journal = Journal(1 << 20)
    journal.recovered([stored(1, 1.0), removed(2, 2.0)])
    assert journal.fresh() == []
    key, entry = stored(3, 3.0)
    assert isinstance(entry, Stored)
    journal.stored(key, entry)
    assert told(journal.fresh()) == told([(key, entry)])
    journal.postpone([stored(1, 0.0)[0]], float("inf"))
    journal.release(10.0)
    assert told(journal.entries()) == told([stored(1, float("inf"))])
    assert told(journal.fresh()) == told([stored(1, float("inf"))])


def test_what_is_kept_is_nothing_that_the_collector_walks() -> None:
    journal = Journal(1 << 24)
    gc.collect()
    before = len(gc.get_objects())
    for number in range(1000):
        key, entry = stored(number, 1.0) if number % 2 else removed(number, 1.0)
        journal.recovered([(key, entry)])
    del key, entry
    gc.collect()
    assert len(journal) == 1000
    assert len(gc.get_objects()) - before < 100
    assert told(journal.entries()[:2]) == told([removed(0, 1.0), stored(1, 1.0)])
