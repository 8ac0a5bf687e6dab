"""Laws of closing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio
import anyio.lowlevel
import pytest

from lorabank.errors import BankClosedError
from lorabank.protocols import PatternStore, Refusal
from lorabank.types.query import EVERYTHING
from lorabank_conformance.laws import Opener, law
from lorabank_conformance.samples import NAMESPACE, NOW
from lorabank_conformance.suite import Suite


class LifecycleLaws(Suite):
    """Closing."""

    @law()
    async def test_use_after_close(self, store: PatternStore) -> None:
        """Protects against silence after the end: every method raises BankClosedError."""
        await store.put_many([self.make.pattern("a")])
        await store.aclose()
        for name, call in self._calls(store).items():
            try:
                await call()
            except BankClosedError:
                continue
            pytest.fail(f"{name} of a closed store returned")

    @law(reopens=True)
    async def test_use_after_block(self, opener: Opener) -> None:
        """Protects likewise after the opener's block, which closes what it opened."""
        async with self.opened(opener) as store:
            await store.put_many([self.make.pattern("a")])
        with pytest.raises(BankClosedError):
            await store.get(NAMESPACE, ["a"])

    @law()
    async def test_close_twice(self, store: PatternStore) -> None:
        """Protects nested clean-up: closing again does nothing, also several times at once."""
        await store.put_many([self.make.pattern("a")])
        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(store.aclose)
        await store.aclose()

    @law()
    async def test_close_while_busy(self, store: PatternStore) -> None:
        """Protects shutdown: calls in flight finish or raise BankClosedError, and none hangs."""
        strange: list[Exception] = []

        async def call(number: int) -> None:
            try:
                await store.put_many([self.make.pattern(f"p{number}")])
                await store.search(NAMESPACE, self.make.axis(0), 3, EVERYTHING)
            except BankClosedError:
                pass
            except Exception as exc:  # noqa: BLE001 - reported below
                strange.append(exc)

        async with anyio.create_task_group() as tasks:
            for number in range(20):
                tasks.start_soon(call, number)
            for _ in range(5):
                await anyio.lowlevel.checkpoint()
            await store.aclose()
        assert strange == []

    def _calls(self, store: PatternStore) -> dict[str, Callable[[], Awaitable[object]]]:
        """One call of every method, some with nothing to do."""
        make = self.make
        calls: dict[str, Callable[[], Awaitable[object]]] = {
            "bind": lambda: store.bind(self.space),
            "put_many": lambda: store.put_many([make.pattern("b")]),
            "put_many of nothing": lambda: store.put_many([]),
            "get": lambda: store.get(NAMESPACE, ["a"]),
            "get of nothing": lambda: store.get(NAMESPACE, []),
            "search": lambda: store.search(NAMESPACE, make.axis(0), 1, EVERYTHING),
            "search of nothing": lambda: store.search(NAMESPACE, make.axis(0), 0, EVERYTHING),
            "scan": lambda: store.scan(NAMESPACE, EVERYTHING, None, 1),
            "delete": lambda: store.delete(NAMESPACE, EVERYTHING),
            "put_skill": lambda: store.put_skill(make.skill("s")),
            "list_skills": lambda: store.list_skills(NAMESPACE),
            "delete_skill": lambda: store.delete_skill(NAMESPACE, "s"),
            "stats": lambda: store.stats(NAMESPACE),
        }
        if isinstance(store, Refusal):
            calls["refuse"] = lambda: store.refuse(NAMESPACE, "user", NOW)
        return calls
