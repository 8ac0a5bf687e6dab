"""Laws of scans: every pattern once, by id, page by page."""

from __future__ import annotations

import numpy as np
import pytest

from lorabank.errors import InvalidInputError
from lorabank.protocols import Capability, PatternStore
from lorabank.types.pattern import Pattern
from lorabank.types.query import EVERYTHING, PatternFilter
from lorabank_conformance.compare import assert_same
from lorabank_conformance.laws import law
from lorabank_conformance.samples import NAMESPACE
from lorabank_conformance.suite import Suite


class ScanLaws(Suite):
    """Scans."""

    @law()
    async def test_scan_pages(self, store: PatternStore) -> None:
        """Protects consolidation and backups: pages cover everything, once, ordered by id.

        A page is full unless it is the last: a short or empty page ends the loops of callers.
        """
        patterns = [self.make.pattern(f"p{i:03}") for i in range(90)]
        order = np.random.default_rng(51).permutation(len(patterns))
        await store.put_many([patterns[i] for i in order])
        for limit in (1, 7, 30, 90, 1000):
            pages = await _pages(store, EVERYTHING, limit)
            assert [len(page) for page in pages[:-1]] == [limit] * (len(pages) - 1)
            assert_same([pattern for page in pages for pattern in page], patterns)

    @law()
    async def test_scan_filtered_pages(self, store: PatternStore) -> None:
        """Protects callers from an early end: the limit counts what passes the filter."""
        make = self.make
        rare = [make.pattern(f"p{i:04}", user_key="rare") for i in range(0, 1200, 150)]
        ids = {pattern.id for pattern in rare}
        others = [make.pattern(f"p{i:04}") for i in range(1200) if f"p{i:04}" not in ids]
        await store.put_many([*others, *rare])
        pages = await _pages(store, PatternFilter(user_key="rare"), 3)
        assert [len(page) for page in pages] == [3, 3, 2]
        assert_same([pattern for page in pages for pattern in page], rare)

    @law()
    async def test_scan_after(self, store: PatternStore) -> None:
        """Protects resumed scans: strictly after the given id, be it there or not."""
        await store.put_many([self.make.pattern(i) for i in ("b", "d", "f")])
        expected = {None: "bdf", "a": "bdf", "b": "df", "c": "df", "d": "f", "f": "", "g": ""}
        for after, ids in expected.items():
            page = await store.scan(NAMESPACE, EVERYTHING, after, 10)
            assert "".join(pattern.id for pattern in page) == ids
        assert await store.scan(NAMESPACE, EVERYTHING, None, 0) == []

    @law()
    async def test_scan_negative_limit_refused(self, store: PatternStore) -> None:
        """Protects against a limit of -1 that some databases read as "all"."""
        await store.put_many([self.make.pattern("a")])
        with pytest.raises(InvalidInputError):
            await store.scan(NAMESPACE, EVERYTHING, None, -1)

    @law()
    async def test_scan_while_writing(self, store: PatternStore) -> None:
        """Protects scans of a live bank: what was there throughout is seen exactly once."""
        make = self.make
        stable = [make.pattern(f"p{i:03}-stable") for i in range(40)]
        await store.put_many(stable)
        can_delete = Capability.DELETE in store.capabilities
        seen: list[str] = []
        after, turn = None, 0
        while page := await store.scan(NAMESPACE, EVERYTHING, after, 7):
            seen += [pattern.id for pattern in page]
            after, turn = page[-1].id, turn + 1
            if can_delete:
                await store.delete(NAMESPACE, PatternFilter(user_key="guest"))
            ids = (f"p{(7 * turn + i) % 40:03}-guest{turn}" for i in range(-9, 9))
            await store.put_many([make.pattern(i, user_key="guest") for i in ids])
            assert turn < 500, "the scan does not end"
        assert seen == sorted(set(seen))
        assert [i for i in seen if i.endswith("stable")] == [pattern.id for pattern in stable]


async def _pages(store: PatternStore, where: PatternFilter, limit: int) -> list[list[Pattern]]:
    """All pages but the empty one at the end."""
    pages: list[list[Pattern]] = []
    after = None
    while page := await store.scan(NAMESPACE, where, after, limit):
        assert len(page) <= limit
        pages.append(page)
        after = page[-1].id
        assert len(pages) <= 1000, "the scan does not end"
    return pages
