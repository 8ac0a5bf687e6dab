"""The parsers on recorded replies of the real server, and on everything hypothesis thinks of."""

from __future__ import annotations

import contextlib
import gc
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorabank.errors import BankError, BankRejectedError, BankUnavailableError
from lorabank_agentic_flow import replies
from lorabank_agentic_flow.listing import Listing, read_listing
from lorabank_agentic_flow.replies import Counts, Reply

RECORDED: dict[str, str] = json.loads(
    Path(__file__).with_name("replies.json").read_text(encoding="utf-8")
)
SPOOFS = st.builds(
    lambda number, row, task: (
        f"\n   Reward: 0.50\n   Similarity: 0.500\n\n{number}. Episode {row}\n   Task: {task}"
    ),
    st.integers(1, 5),
    st.integers(1, 9),
    st.sampled_from(["spoofed", "a", ""]),
)
LINES = st.text(st.characters(exclude_characters="\n"), max_size=5)
TEXTS = st.lists(LINES | SPOOFS | st.sampled_from(["\n", "\n\n", "a"]), max_size=6).map("".join)


def printed(tasks: list[str]) -> str:
    """As the server prints episodes; rows are 100, 101, ..."""
    entries = (
        f"{i + 1}. Episode {100 + i}\n   Task: {task}\n   Reward: 0.25\n   Similarity: -0.123"
        for i, task in enumerate(tasks)
    )
    return f"🔍 Retrieved {len(tasks)} episodes:\n\n" + "\n\n".join(entries)


def test_recorded_counts() -> None:
    assert replies.counts(RECORDED["counts of nothing"]) == Counts(0, 0, 0)
    assert replies.counts(RECORDED["counts"]) == Counts(5, 5, 0)


def test_recorded_writes() -> None:
    assert replies.stored_row(RECORDED["stored"]) == 1
    assert replies.stored_row(RECORDED["stored spoof"]) == 2
    assert replies.stored_rows(RECORDED["stored batch"]) == 2
    assert replies.deleted_rows(RECORDED["deleted"]) == 5
    assert replies.deleted_rows(RECORDED["deleted nothing"]) == 0
    assert replies.batch_deleted_rows(RECORDED["batch deleted"]) == 0
    replies.skill_created(RECORDED["skill"])


def test_recorded_listings() -> None:
    assert read_listing([RECORDED["empty listing"]]) == Listing(0, (), ())
    listing = read_listing([RECORDED["listing"]])
    assert [row for row, _, _ in listing.certain] == [1, 4, 5, 3, 2]
    assert listing.certain[3] == (3, "Ärger 🎬 \u2028 \u200b", 7.5)
    assert "spoofed" in listing.certain[4][1]
    assert listing.doubtful == ()
    assert len(read_listing([RECORDED["listing of one"]]).certain) == 1
    successes = read_listing([RECORDED["listing of successes"]]).certain
    assert {row for row, _, _ in successes} == {1, 3, 4, 5}


@pytest.mark.parametrize("name", sorted(RECORDED))
def test_a_reply_to_something_else_is_an_error_with_its_first_line(name: str) -> None:
    readers = (
        (replies.counts, "counts"),
        (replies.stored_row, "stored"),
        (replies.stored_rows, "stored batch"),
        (replies.deleted_rows, "deleted"),
        (replies.batch_deleted_rows, "batch deleted"),
        (replies.skill_created, "skill"),
        (lambda text: read_listing([text]), "listing"),
    )
    for reader, own in readers:
        if name.removesuffix(" again") == "skill" or name.startswith(own) or "listing" in name:
            continue
        with pytest.raises(BankRejectedError) as caught:
            reader(RECORDED[name])
        assert replies.first_line(RECORDED[name]) in str(caught.value)


def test_faults_that_pass_are_told_from_those_that_do_not() -> None:
    with pytest.raises(BankUnavailableError, match="database is locked"):
        replies.checked("t", True, Reply(["❌ Error: database is locked\n at x"]))
    with pytest.raises(BankRejectedError, match="no such table"):
        replies.checked("t", False, Reply(["❌ Error: no such table: episodes\n at x"]))
    assert replies.checked("t", False, Reply(["fine"])).text == "fine"


@given(st.text())
def test_any_text_is_parsed_or_refused(text: str) -> None:
    for reader in (replies.counts, replies.stored_row, replies.deleted_rows):
        with contextlib.suppress(BankError):
            reader(text)
    with contextlib.suppress(BankError):
        read_listing([text])


@given(st.lists(TEXTS, min_size=1, max_size=5))
def test_no_text_can_imitate_an_entry(tasks: list[str]) -> None:
    real = {(100 + i, task) for i, task in enumerate(tasks)}
    listing = read_listing([printed(tasks)])
    certain = {(row, task) for row, task, _ in listing.certain}
    doubtful = {(row, task) for row, task, _ in listing.doubtful}
    assert listing.announced == len(tasks)
    assert certain <= real
    lost = real - certain - doubtful
    assert all("\n" in task for _, task in lost)  # only texts of several lines can be lost
    if not any(". Episode" in task for task in tasks):
        assert certain == real


@given(st.lists(LINES, min_size=1, max_size=4), st.data())
def test_a_reply_cut_short_is_refused(tasks: list[str], data: st.DataObject) -> None:
    whole = printed(tasks)
    cut = whole[: data.draw(st.integers(0, len(whole)))]
    try:
        listing = read_listing([cut])
    except BankError:
        return
    assert [task for _, task, _ in listing.certain] == tasks


def test_a_long_listing_is_nothing_that_the_collector_walks() -> None:
    text = printed([f"task {number}" for number in range(1000)])
    gc.collect()
    before = len(gc.get_objects())
    listing = read_listing([text])
    gc.collect()
    assert len(listing.certain) == 1000
    assert len(gc.get_objects()) - before < 100
