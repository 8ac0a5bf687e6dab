"""Equal questions at the same time are answered once; nobody joins one that has begun."""

from __future__ import annotations

from collections.abc import Sequence

import anyio
import numpy as np
import pytest

from lorabank.bank import StandardBank
from lorabank.errors import BankUnavailableError
from lorabank.types.query import Query
from lorabank.types.space import EmbeddingSpace
from lorabank_memory import MemoryStore

pytestmark = pytest.mark.anyio
QUERY = Query(context=np.ones(4), namespace="shop")


class Counting(MemoryStore):
    """Counts searches, and fails or waits in those it is told to."""

    def __init__(self, failing: Sequence[int] = (), held: Sequence[int] = ()) -> None:
        super().__init__()
        self.searches = 0
        self.failing, self.held = failing, held
        self.begun, self.go_on = anyio.Event(), anyio.Event()

    async def search(self, namespace, vector, k, where):
        await self._search_begins()
        return await super().search(namespace, vector, k, where)

    async def search_trials(self, namespace, vector, k, where):
        await self._search_begins()
        return await super().search_trials(namespace, vector, k, where)

    async def _search_begins(self):
        self.searches += 1
        mine = self.searches
        if mine in self.failing:
            raise BankUnavailableError("told to")
        if mine in self.held:
            self.begun.set()
            await self.go_on.wait()


async def opened(store: Counting, make_pattern) -> StandardBank:
    bank = StandardBank(store)
    await bank.bind(EmbeddingSpace("toy", 4))
    await bank.store_pattern(make_pattern("a", np.ones(4)))
    return bank


async def both(bank: StandardBank):
    """What an engine asks on a miss."""
    answers = {}

    async def ask(name, question):
        try:
            answers[name] = await question(QUERY)
        except BankUnavailableError as exc:
            answers[name] = exc

    async with anyio.create_task_group() as group:
        group.start_soon(ask, "patterns", bank.retrieve_patterns)
        group.start_soon(ask, "strategy", bank.learn_strategy)
    return answers["patterns"], answers["strategy"]


async def test_both_halves_share_one_search(make_pattern) -> None:
    store = Counting()
    bank = await opened(store, make_pattern)
    patterns, strategy = await both(bank)
    assert [match.pattern.id for match in patterns] == ["a"]
    assert tuple(patterns) == strategy.patterns
    assert store.searches == 2  # the patterns, and the evidence


async def test_a_half_that_was_started_just_before_shares_it(make_pattern) -> None:
    """As an engine asks. Ten times, since trio's order of tasks is random."""
    store = Counting()
    bank = await opened(store, make_pattern)
    for _ in range(10):
        store.searches = 0
        async with anyio.create_task_group() as group:
            group.start_soon(bank.retrieve_patterns, QUERY)
            await bank.learn_strategy(QUERY)
        assert store.searches == 2


async def test_if_the_shared_search_fails_the_other_half_asks_for_itself(make_pattern) -> None:
    for failing in (1, 2):  # which of them is the shared one is the loop's choice
        store = Counting(failing=[failing])
        bank = await opened(store, make_pattern)
        answers = await both(bank)
        assert sum(isinstance(answer, BankUnavailableError) for answer in answers) == 1


async def test_if_the_asker_is_cancelled_the_other_asks_for_itself(make_pattern) -> None:
    store = Counting(held=[1])
    bank = await opened(store, make_pattern)
    found = []
    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            scopes = [anyio.CancelScope() for _ in range(2)]

            async def ask(scope):
                with scope:
                    found.append(await bank.retrieve_patterns(QUERY))

            for scope in scopes:
                group.start_soon(ask, scope)
            await store.begun.wait()
            for scope in scopes[:1]:
                scope.cancel()
            store.go_on.set()
    assert [[m.pattern.id for m in matches] for matches in found] == [["a"]]


async def test_a_question_that_has_begun_is_not_joined(make_pattern) -> None:
    store = Counting(held=[1])
    bank = await opened(store, make_pattern)
    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            group.start_soon(bank.retrieve_patterns, QUERY)
            await store.begun.wait()
            await bank.store_pattern(make_pattern("b", np.ones(4)))
            later = await bank.retrieve_patterns(QUERY)
            assert [match.pattern.id for match in later] == ["a", "b"]
            store.go_on.set()


async def test_answers_are_not_shared_lists(make_pattern) -> None:
    bank = await opened(Counting(), make_pattern)
    patterns, strategy = await both(bank)
    patterns.clear()
    assert len(strategy.patterns) == 1
