"""What a user did before being forgotten is left out, whoever stores it, and when."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from lorabank.errors import InvalidInputError
from lorabank.protocols import Refusal
from lorabank.types.query import EVERYTHING, PatternFilter
from lorabank_faiss import FaissStore, Settings, open_store
from lorabank_faiss.schema import FILE
from tests.faiss.samples import NAMESPACE, pattern, vector

pytestmark = pytest.mark.anyio
OLD, NEW, NEWER = (
    pattern(name, user_key="ada", created_at=at)
    for name, at in (("old", 10.0), ("new", 10.5), ("newer", 11.5))
)
BOBS = pattern("bobs", user_key="bob", created_at=1.0)
ELSEWHERE = pattern("elsewhere", user_key="ada", created_at=1.0, namespace="other")


async def ids(store: FaissStore, namespace: str = NAMESPACE) -> set[str]:
    scanned = {one.id for one in await store.scan(namespace, EVERYTHING, None, 100)}
    found = await store.search(namespace, vector(1), 100, EVERYTHING)
    assert {match.pattern.id for match in found} == scanned
    assert (await store.stats(namespace)).patterns == len(scanned)
    return scanned


async def test_by_user_namespace_and_time(tmp_path: Path) -> None:
    async with open_store(Settings(tmp_path)) as store:
        assert isinstance(store, Refusal)
        await store.refuse(NAMESPACE, "ada", 10.0)
        await store.put_many([OLD, NEW, BOBS, ELSEWHERE])
        assert await ids(store) == {"new", "bobs"}
        assert await ids(store, "other") == {"elsewhere"}
        await store.put_many([OLD])  # alone
        assert await ids(store) == {"new", "bobs"}


async def test_the_latest_counts_and_what_is_there_stays(tmp_path: Path) -> None:
    async with open_store(Settings(tmp_path)) as store:
        await store.put_many([NEW])
        await store.refuse(NAMESPACE, "ada", 11.0)
        await store.refuse(NAMESPACE, "ada", 10.0)
        assert await ids(store) == {"new"}
        await store.delete(NAMESPACE, PatternFilter(user_key="ada"))
        await store.put_many([NEW, NEWER])
        assert await ids(store) == {"newer"}


async def test_others_are_told_and_so_is_who_opens_it_later(tmp_path: Path) -> None:
    settings = Settings(tmp_path)
    async with open_store(settings) as store, open_store(settings) as other:
        await store.refuse(NAMESPACE, "ada", 10.0)
        await other.put_many([OLD, NEW])
        assert await ids(store) == {"new"}
    async with open_store(settings) as store:
        await store.put_many([OLD, NEWER])
        assert await ids(store) == {"new", "newer"}


async def test_a_bank_from_before_there_was_refusing(tmp_path: Path) -> None:
    async with open_store(Settings(tmp_path)) as store:
        await store.put_many([BOBS])
    with closing(sqlite3.connect(tmp_path / FILE)) as connection:
        connection.execute("DROP TABLE refused")
    async with open_store(Settings(tmp_path)) as store:
        await store.refuse(NAMESPACE, "ada", 10.0)
        await store.put_many([OLD, NEW])
        assert await ids(store) == {"bobs", "new"}


@pytest.mark.parametrize(
    ("namespace", "user", "until"),
    [("", "ada", 1.0), (NAMESPACE, "", 1.0), (NAMESPACE, "ada", float("nan"))],
)
async def test_nonsense(namespace: str, user: str, until: float, tmp_path: Path) -> None:
    async with open_store(Settings(tmp_path)) as store:
        with pytest.raises(InvalidInputError):
            await store.refuse(namespace, user, until)
