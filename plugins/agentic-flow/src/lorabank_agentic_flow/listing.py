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

The text comes in pieces, is cut into blocks wherever an entry may start, and is never put together:
nothing here takes longer the longer the list is, except for the number of its steps.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

from lorabank.errors import BankUnavailableError
from lorabank.turns import unhurried
from lorabank_agentic_flow.replies import unknown

_HEADER = re.compile(r"🔍 Retrieved (\d{1,9}) episodes:(?:\n\n)?")
_START = re.compile(r"\n\n(\d{1,9})\. Episode (\d{1,18})\n   Task: ")
_START_LENGTH = 64  # characters, at most
_ENTRY = re.compile(
    r"\n\n(\d{1,9})\. Episode (?P<row>\d{1,18})\n   Task: (?P<task>.*)"
    r"\n   Reward: (?P<reward>[^\s]{1,32})\n   Similarity: [^\s]{1,32}",
    re.DOTALL,
)
_LINE_ENTRY = re.compile(
    r"\d{1,9}\. Episode (?P<row>\d{1,18})\n   Task: (?P<task>[^\n]*)"
    r"\n   Reward: (?P<reward>[^\s]{1,32})\n   Similarity: [^\s]{1,32}(?=\n\n|\Z)"
)
_TOOL = "reflexion_retrieve"


# An episode as printed: its row, its whole text, and its reward rounded to two decimals. A plain
# tuple, as there are thousands for a while: Python's collector of cycles does not walk those.
Listed: TypeAlias = tuple[int, str, float]


@dataclass(frozen=True, slots=True)
class Listing:
    """``announced`` episodes: those that are certain, and texts that only may be episodes.

    ``nbytes`` of the server's message held them.
    """

    announced: int
    certain: tuple[Listed, ...]
    doubtful: tuple[Listed, ...]
    nbytes: int = 0


def read_listing(pieces: Iterable[str]) -> Listing:
    """Parse a whole reply.

    Args:
        pieces: its text, cut anywhere.

    Raises:
        BankRejectedError: not such a reply.
        BankUnavailableError: it ends too early.
    """
    head, *blocks = _blocks(pieces)
    header = _HEADER.fullmatch(head)
    if header is None or bool(blocks) == head.endswith("\n"):
        raise unknown(_TOOL, head)
    announced = int(header[1])
    if announced > len(blocks):
        raise BankUnavailableError(f"{_TOOL}: {announced} episodes announced, fewer are there")
    if blocks and not announced:
        raise unknown(_TOOL, head + blocks[0])
    return _read_blocks(announced, blocks)


def _blocks(pieces: Iterable[str]) -> Iterator[str]:
    """The text, cut before each place where an entry may start."""
    block: list[str] = []
    rest, searched = "", 0
    for piece in unhurried(pieces, 1):
        rest += piece
        begin = 0
        for found in _START.finditer(rest, searched):
            yield "".join([*block, rest[begin : found.start()]])
            block = []
            begin, searched = found.start(), found.end()
        # A start may be cut in two: so much of the end is looked at again.
        keep = max(begin, searched, len(rest) - _START_LENGTH)
        block.append(rest[begin:keep])
        rest, searched = rest[keep:], 0
    yield "".join([*block, rest])


def _read_blocks(announced: int, blocks: list[str]) -> Listing:
    certain: list[Listed] = []
    doubtful: list[Listed] = []
    # The blocks where entries really start; None where in doubt; the end of the text is real.
    known = [*_known(announced, blocks), len(blocks)]
    doubt_from: int | None = None
    last = 0
    for start, end in unhurried(pairwise(known)):
        last = last if start is None else start
        if start is not None and end is not None and doubt_from is None:
            certain.append(_entry("".join(blocks[start:end])))
            continue
        doubt_from = last if doubt_from is None else doubt_from
        if end is not None:
            doubtful += map(_listed, _LINE_ENTRY.finditer("".join(blocks[doubt_from:end])))
            doubt_from = None
    return Listing(announced, tuple(certain), tuple(doubtful))


def _known(announced: int, blocks: list[str]) -> list[int | None]:
    """The block where each number's entry starts; None where that is in doubt."""
    if _numbers(blocks) == list(range(1, announced + 1)):  # as nearly always
        return list(range(announced))
    starts = _candidates(announced, blocks)
    return [places[0] if len(places) == 1 else None for places in starts]


def _numbers(blocks: list[str]) -> list[int]:
    """The number of the entry that each block looks like."""
    found = (_START.match(block) for block in unhurried(blocks))
    return [int(match[1]) for match in found if match is not None]


def _candidates(announced: int, blocks: list[str]) -> list[list[int]]:
    """The blocks where each number's entry may start, as far as its real neighbours allow."""
    starts: list[list[int]] = [[] for _ in range(announced)]
    for place, number in enumerate(_numbers(blocks)):
        if 1 <= number <= announced:
            starts[number - 1].append(place)
    if starts:
        starts[0] = [place for place in starts[0] if place == 0]  # the first follows the header
    changed = True
    while changed:
        changed = _narrow(starts, len(blocks))
    if not all(starts):
        raise BankUnavailableError(f"{_TOOL}: {announced} episodes announced, fewer are there")
    return starts


def _narrow(starts: list[list[int]], end: int) -> bool:
    """Drop places before the earliest of the number before, or after the latest of the next."""
    changed = False
    low = -1
    for places in unhurried(starts):
        kept = [place for place in places if place > low]
        changed |= len(kept) < len(places)
        places[:] = kept
        low = kept[0] if kept else low
    high = end
    for places in unhurried(reversed(starts)):
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
    return int(found["row"]), found["task"], reward
