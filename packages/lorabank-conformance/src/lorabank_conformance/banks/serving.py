"""Laws of a bank in a busy service."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import ClassVar

import anyio
import anyio.lowlevel
import pytest

from lorabank.errors import BankClosedError
from lorabank.protocols import ReasoningBank
from lorabank.types.query import Query
from lorabank.types.skill import ConsolidationCriteria
from lorabank_conformance.banks.evidence import episodes, trials
from lorabank_conformance.heartbeat import Work, assert_never_blocked
from lorabank_conformance.laws import Opener, law
from lorabank_conformance.samples import NAMESPACE
from lorabank_conformance.suite import Suite

TURNS = (0, 1, 2, 3, 5, 8, 13, 30, 100, 300)


class ServingLaws(Suite):
    """Concurrency, cancellation, the event loop, and the end.

    Attributes:
        longest_pause: seconds for which a bank may keep the event loop to itself, at most.
    """

    longest_pause: ClassVar[float] = 0.1

    @law()
    async def test_bank_concurrent(self, bank: ReasoningBank) -> None:
        """Protects a busy service: 100 users store and ask at once, and nothing is lost."""

        async def serve(number: int) -> None:
            user = f"u{number:02}"
            await bank.store_pattern(self.make.pattern(f"p{number:02}", user_key=user))
            query = Query(context=self.make.axis(0), k=3)
            assert 1 <= len(await bank.retrieve_patterns(query)) <= 3
            await bank.learn_strategy(query)

        async with anyio.create_task_group() as tasks:
            for number in range(100):
                tasks.start_soon(serve, number)
        assert (await bank.stats(NAMESPACE)).patterns == 100

    @law()
    async def test_bank_cancel_store(self, bank: ReasoningBank) -> None:
        """Protects against half a batch: cancelled at any moment, it is there or is not."""
        for turns in TURNS:
            namespace = f"after {turns}"
            batch = [self.make.pattern(f"p{i:02}", namespace=namespace) for i in range(30)]
            with anyio.CancelScope() as scope:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(bank.store_patterns, batch)
                    for _ in range(turns):
                        await anyio.lowlevel.checkpoint()
                    scope.cancel()
            assert (await bank.stats(namespace)).patterns in (0, len(batch))

    @law()
    async def test_bank_loop_never_blocked(self, bank: ReasoningBank) -> None:
        """Protects every other request: a ticking task gets its turn while a bank learns."""
        await bank.store_patterns(trials(self.make, effect=0.3, seed=151))
        await bank.store_patterns(episodes(self.make, users=60, gain=0.4, seed=152))
        query = Query(context=self.make.axis(0), k=5)

        criteria = ConsolidationCriteria(look_back=86_400.0)
        works: dict[str, Work] = {
            "retrieve_patterns": partial(bank.retrieve_patterns, query),
            "learn_strategy": partial(bank.learn_strategy, query),
            "auto_consolidate": partial(bank.auto_consolidate, NAMESPACE, criteria),
        }
        await assert_never_blocked(works, self.longest_pause)

    @law(reopens=True)
    async def test_bank_use_after_close(self, opener: Opener) -> None:
        """Protects against silence after the end: every method raises BankClosedError."""
        async with self.opened(opener) as bank:
            await bank.store_pattern(self.make.pattern("a"))
        for name, call in self._calls(bank).items():
            try:
                await call()
            except BankClosedError:
                continue
            pytest.fail(f"{name} of a closed bank returned")

    def _calls(self, bank: ReasoningBank) -> dict[str, Callable[[], Awaitable[object]]]:
        make, query = self.make, Query(context=self.make.axis(0))
        return {
            "bind": lambda: bank.bind(self.space),
            "store_pattern": lambda: bank.store_pattern(make.pattern("b")),
            "store_patterns": lambda: bank.store_patterns([make.pattern("b")]),
            "retrieve_patterns": lambda: bank.retrieve_patterns(query),
            "learn_strategy": lambda: bank.learn_strategy(query),
            "auto_consolidate": lambda: bank.auto_consolidate(NAMESPACE, ConsolidationCriteria()),
            "skills": lambda: bank.skills(NAMESPACE),
            "put_skill": lambda: bank.put_skill(make.skill("s")),
            "delete_skill": lambda: bank.delete_skill(NAMESPACE, "s"),
            "forget": lambda: bank.forget(NAMESPACE, "user"),
            "stats": lambda: bank.stats(NAMESPACE),
        }
