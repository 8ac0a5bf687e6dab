"""The kit catches every fault planted into the memory backend, and names the law."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from tests.conformance.mutants import CAUGHT_BY

from lorabank_conformance import Opener, PatternStoreConformance, laws_of
from lorabank_memory import MemoryStore


class Quick(PatternStoreConformance):
    """The suite with less of everything: it runs once for each mutant."""

    crowd = 300
    load = 1200
    histories = 6
    shrinks = False


def opener_of(store: type[MemoryStore]) -> Opener:
    """Each open is a new store."""

    @asynccontextmanager
    async def opened() -> AsyncIterator[MemoryStore]:
        found = store()
        try:
            yield found
        finally:
            await found.aclose()

    return opened


def broken_laws(store: type[MemoryStore]) -> set[str]:
    """Ids of the laws that the store breaks."""
    broken = set()
    for law_id in laws_of(Quick):
        test = getattr(Quick, "test_" + law_id.replace("-", "_"))
        try:
            test(Quick(), opener_of(store), "asyncio")
        except pytest.skip.Exception:
            continue
        except (Exception, pytest.fail.Exception):  # noqa: BLE001 - however it shows
            broken.add(law_id)
    return broken


def test_the_backend_itself_breaks_no_law() -> None:
    assert broken_laws(MemoryStore) == set()


@pytest.mark.parametrize("mutant", CAUGHT_BY, ids=lambda mutant: mutant.__name__)
def test_mutant_is_caught(mutant: type[MemoryStore]) -> None:
    assert broken_laws(mutant) >= CAUGHT_BY[mutant]
