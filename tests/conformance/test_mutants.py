"""The kit catches every fault planted into the memory backend, and names the law."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.conformance import durable_mutants
from tests.conformance.durable_mutants import JournalStore
from tests.conformance.mutants import CAUGHT_BY

from lorabank.protocols import Capability
from lorabank_conformance import Address, Opener, PatternStoreConformance, laws_of
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


def obey(kind: type[JournalStore], law_id: str, directory: Path) -> None:
    """Try a durable store by one law, in a place of its own."""
    directory.mkdir()
    suite, name = Quick(), f"open_{kind.__name__}"
    suite.address = Address(f"{durable_mutants.__name__}:{name}", directory)
    test = getattr(suite, "test_" + law_id.replace("-", "_"))
    test(lambda: durable_mutants.OPENERS[name](directory), "asyncio")


def test_the_durable_store_obeys_what_durable_stores_must(tmp_path: Path) -> None:
    mine = [i for i, law in laws_of(Quick).items() if Capability.DURABLE in law.needs]
    laws = [i for i in mine if Capability.SHARED not in laws_of(Quick)[i].needs]
    assert set(durable_mutants.CAUGHT_BY.values()) <= set(laws)
    for law_id in laws:
        obey(JournalStore, law_id, tmp_path / law_id)


@pytest.mark.parametrize("mutant", durable_mutants.CAUGHT_BY, ids=lambda mutant: mutant.__name__)
def test_mutant_of_a_durable_store_is_caught(mutant: type[JournalStore], tmp_path: Path) -> None:
    with pytest.raises(AssertionError):
        obey(mutant, durable_mutants.CAUGHT_BY[mutant], tmp_path / "place")
