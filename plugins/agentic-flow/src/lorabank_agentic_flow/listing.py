"""Reading `reflexion_retrieve`'s list of episodes, whose texts may look like entries themselves.

The server prints each episode's text as it is::

    🔍 Retrieved 2 episodes:

    1. Episode 7
       Task: any text, of any number of lines
       Reward: 0.90
       Similarity: 0.349

    2. Episode 3
    ...

so a text of several lines can imitate the start of further entries. But it can't take the real
ones away: each number from 1 to the announced count is there. A number that is there once is
therefore real, and so is one that is the only one between its real neighbours. What lies between
starts that are in doubt is given as *doubtful*, to be confirmed by asking for it alone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise

from lorabank.errors import BankUnavailableError
from lorabank_agentic_flow.replies import unknown

_HEADER = re.compile(r"🔍 Retrieved (\d+) episodes:\n\n")
_START = re.compile(r"(?:\A|(?<=\n\n))(\d{1,9})\. Episode (\d{1,18})\n   Task: ")
_ENTRY = re.compile(
    r"(\d{1,9})\. Episode (?P<row>\d{1,18})\n   Task: (?P<task>.*)"
    r"\n   Reward: (?P<reward>[^\s]{1,32})\n   Similarity: [^\s]{1,32}",
    re.DOTALL,
)
_LINE_ENTRY = re.compile(
    r"\d{1,9}\. Episode (?P<row>\d{1,18})\n   Task: (?P<task>[^\n]*)"
    r"\n   Reward: (?P<reward>[^\s]{1,32})\n   Similarity: [^\s]{1,32}(?=\n\n|\Z)"
)
_TOOL = "reflexion_retrieve"


@dataclass(frozen=True, slots=True)
class Listed:
    """An episode as printed: its row, its whole text, and its reward rounded to two decimals."""

    row: int
    task: str
    reward: float


@dataclass(frozen=True, slots=True)
class Listing:
    """``announced`` episodes: those that are certain, and texts that only may be episodes."""

    announced: int
    certain: tuple[Listed, ...]
    doubtful: tuple[Listed, ...]


def read_listing(text: str) -> Listing:
    """Parse a whole reply.

    Raises:
        BankRejectedError: not such a reply.
        BankUnavailableError: it ends too early.
    """
    header = _HEADER.match(text)
    if header is None:
        raise unknown(_TOOL, text)
    announced, body = int(header[1]), text[header.end() :]
    if not announced:
        if body:
            raise unknown(_TOOL, text)
        return Listing(0, (), ())
    return _read_body(announced, body)


def _read_body(announced: int, body: str) -> Listing:
    starts = _candidates(announced, body)
    certain: list[Listed] = []
    doubtful: list[Listed] = []
    # Positions of starts that are real; None where in doubt; the end of the text is real.
    known = [places[0] if len(places) == 1 else None for places in starts] + [len(body) + 2]
    doubt_from: int | None = None
    last = 0
    for start, end in pairwise(known):
        last = last if start is None else start
        if start is not None and end is not None and doubt_from is None:
            certain.append(_entry(body[start : end - 2]))
            continue
        doubt_from = last if doubt_from is None else doubt_from
        if end is not None:
            doubtful += map(_listed, _LINE_ENTRY.finditer(body, doubt_from, end - 2))
            doubt_from = None
    return Listing(announced, tuple(certain), tuple(doubtful))


def _candidates(announced: int, body: str) -> list[list[int]]:
    """Where each number's entry may start, as far as its real neighbours allow."""
    starts: list[list[int]] = [[] for _ in range(announced)]
    for found in _START.finditer(body):
        number = int(found[1])
        if 1 <= number <= announced:
            starts[number - 1].append(found.start())
    starts[0] = [place for place in starts[0] if place == 0]  # the first follows the header
    changed = True
    while changed:
        changed = _narrow(starts, len(body))
    if not all(starts):
        raise BankUnavailableError(f"{_TOOL}: {announced} episodes announced, fewer are there")
    return starts


def _narrow(starts: list[list[int]], end: int) -> bool:
    """Drop places before the earliest of the number before, or after the latest of the next."""
    changed = False
    low = -1
    for places in starts:
        kept = [place for place in places if place > low]
        changed |= len(kept) < len(places)
        places[:] = kept
        low = kept[0] if kept else low
    high = end
    for places in reversed(starts):
        kept = [place for place in places if place < high]
        changed |= len(kept) < len(places)
        places[:] = kept
        high = kept[-1] if kept else high
    return changed


def _entry(text: str) -> Listed:
    found = _ENTRY.fullmatch(text)
    if found is None:
        raise BankUnavailableError(f"{_TOOL}: an entry ends too early: {text[:40]!r}")
    return _listed(found)


def _listed(found: re.Match[str]) -> Listed:
    try:
        reward = float(found["reward"])
    except ValueError:
        reward = float("nan")
    return Listed(int(found["row"]), found["task"], reward)
