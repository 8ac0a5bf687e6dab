"""Envelopes: one line, whole or nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorabank.codec import encode
from lorabank.types.space import EmbeddingSpace
from lorabank_agentic_flow.envelope import from_text, one_line, revision_of, to_text
from lorabank_agentic_flow.journal import Journal, Stored
from lorabank_agentic_flow.planning import as_episode, fit_for_batch, plan
from lorabank_agentic_flow.records import Record, Revisions
from lorabank_agentic_flow.view import View
from lorabank_conformance.hostile import HOSTILE
from tests.agentic_flow.samples import MAKE, pattern

REVISION = "00000000000000ff-0123abcd"
FULL = Record(REVISION, MAKE.full_pattern("id"))


@pytest.mark.parametrize("text", HOSTILE)
def test_a_pattern_comes_back_bit_by_bit(text: str) -> None:
    record = Record(REVISION, pattern(1, task=text, critique=text))
    line = to_text(record)
    back = from_text(line)
    assert back is not None
    assert "\n" not in line
    assert len(line.splitlines()) == 1
    assert encode(back.value, "pattern") == encode(record.value, "pattern")
    assert back.revision == REVISION == revision_of(line)


def test_skills_and_spaces_come_back() -> None:
    skill = from_text(to_text(Record(REVISION, MAKE.full_skill("s"))))
    assert skill is not None
    assert encode(skill.value, "skill") == encode(MAKE.full_skill("s"), "skill")
    space = EmbeddingSpace("ünï || lorabank {", 3, normalised=True)
    found = from_text(to_text(Record(REVISION, space)))
    assert found is not None
    assert found.value == space


@given(st.data())
def test_a_changed_envelope_is_no_envelope(data: st.DataObject) -> None:
    line = to_text(FULL)
    start = line.index("{")
    place = data.draw(st.integers(start, len(line) - 1))
    other = data.draw(st.characters(codec="ascii").filter(lambda char: char != line[place]))
    assert from_text(line[:place] + other + line[place + 1 :]) is None
    assert from_text(line[:place]) is None


@given(st.text(), st.text(max_size=3))
def test_other_text_is_no_envelope(before: str, after: str) -> None:
    assert from_text(before) is None
    assert from_text(before + ' || lorabank {"v":1' + after) is None
    if after.strip() and not after.isspace():
        assert from_text(to_text(FULL) + after) is None


def test_an_envelope_over_several_lines_is_someone_elses_text() -> None:
    assert from_text("first\n" + to_text(FULL)) is None


@given(st.text())
def test_readable_text_is_one_printable_line(text: str) -> None:
    line = one_line(text)
    assert len(line) <= 300
    assert line == "" or line.isprintable()


def test_revisions_grow_and_overtake_what_they_replace() -> None:
    revisions = Revisions(lambda: 5)
    first, second = revisions.next(), revisions.next()
    assert first < second < revisions.next(after="00000000000000ff-ffffffff")
    assert revisions.next() > "00000000000000ff-ffffffff"


def test_a_view_keeps_the_highest_revision_whatever_the_order() -> None:
    old = Record("0000000000000001-00000000", pattern(1, task="old"))
    new = Record("0000000000000002-00000000", pattern(1, task="new"))
    for order in ([old, new], [new, old]):
        view = View()
        assert view.put(order) == [old.revision]
        assert [found.task for found in view.get("default", ["p001"])] == ["new"]
        view.drop([(old.key, old.revision)])
        assert view.count("default") == 1
        view.drop([(new.key, new.revision)])
        assert view.count("default") == 0


def test_the_journal_forgets_what_is_saved_and_is_bounded() -> None:
    journal = Journal(limit=10_000)
    records = [Record(f"{i:016x}-00000000", pattern(i)) for i in range(4)]
    for at, record in enumerate(records):
        journal.stored(record.key, Stored(record.revision, float(at), as_episode(record)))
    journal.release(2.0)
    assert [key.id for key, _ in journal.entries()] == ["p002", "p003"]
    journal.removed([(records[2].key, records[2].revision)], 4.0)
    journal.release(4.0)
    assert len(journal) == 1
    for i in range(100):
        record = Record(f"{i:016x}-00000000", pattern(i))
        journal.stored(record.key, Stored(record.revision, 5.0, as_episode(record)))
    assert 1 < len(journal) < 100
    entries = [entry for _, entry in journal.entries()]
    texts = sum(len(entry.episode.task) for entry in entries if isinstance(entry, Stored))
    assert texts < journal.nbytes <= 10_000


def test_what_the_batch_tool_would_refuse_is_stored_alone() -> None:
    assert fit_for_batch("plain")
    assert not fit_for_batch("x" * 10_001)
    assert not fit_for_batch("🎬" * 5_001)
    assert not fit_for_batch("see javascript:alert")
    assert not fit_for_batch("once = upon")
    episodes = [as_episode(Record(REVISION, pattern(i))) for i in range(3)]
    odd = as_episode(Record(REVISION, pattern(9, task="on x = 1; online=2")))
    assert plan([*episodes, odd]) == ([episodes], [odd])
    assert plan([odd]) == ([], [odd])
