"""Forgetting a user in the store and in the bank, and looking whether it did."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import anyio

from lorabank.clock import Clock
from lorabank.config import EngineConfig
from lorabank.errors import BankUnavailableError
from lorabank.personalizer.adapters import Adapters
from lorabank.personalizer.bank_part import BankPart
from lorabank.personalizer.courier import StoreQueue
from lorabank.personalizer.locks import KeyedLocks
from lorabank.personalizer.receipt import ForgetReceipt
from lorabank.stores import AdapterStore, ForgetCounts
from lorabank.types.checks import check_text
from lorabank.types.identifiers import user_key


class Forgetter:
    """Forgets users, each in its turn.

    Args:
        config: makes the user's key.
        store: forgets first, so that nothing more is delivered.
        bank: forgets then.
        adapters: what is hot is dropped.
        queue: its deliveries are kept from crossing.
        locks: one per user.
        clock: tells since when.
        rebuild: called when the population is to be made again.
        alone: whether no other process delivers.
    """

    def __init__(
        self,
        config: EngineConfig,
        store: AdapterStore,
        bank: BankPart,
        adapters: Adapters,
        queue: StoreQueue,
        locks: KeyedLocks,
        clock: Clock,
        rebuild: Callable[[], None],
        alone: Callable[[], Awaitable[bool]],
    ) -> None:
        self._config = config
        self._store = store
        self._bank = bank
        self._adapters = adapters
        self._queue = queue
        self._locks = locks
        self._clock = clock
        self._rebuild = rebuild
        self._alone = alone

    async def forget(self, user_id: str) -> ForgetReceipt:
        """See `Personalizer.forget`."""
        check_text(user_id, "user_id")
        async with self._locks.hold(user_id):
            return await self._forget(user_id)

    async def _forget(self, user_id: str) -> ForgetReceipt:
        key = user_key(user_id, self._config.user_key_secret)
        now = self._clock.wall()
        try:
            removed = await self._store.forget(user_id, key, now)
            # As owed now: if somebody delivers the user's episodes meanwhile, it is owed anew.
            owed = await self._store.duties("forget", math.inf, key)
        finally:
            # Afterwards, so that nothing read before can come back.
            self._adapters.drop(user_id)
            self._queue.notify()
        async with self._no_delivery():
            patterns, skills = await self._bank.forget(user_id, key, now)
            if removed.populations:
                self._rebuild()
            remaining = await self._store.remains(user_id, key)
            gone = await self._bank.is_gone(key)
            if patterns is not None and gone and await self._is_uncrossed(removed):
                for duty in owed:
                    await self._store.discharge(duty)
        verified = remaining.total == 0 and gone
        return ForgetReceipt(key, removed, patterns, skills, remaining, verified)

    async def _is_uncrossed(self, removed: ForgetCounts) -> bool:
        """Whether nothing of the user is on its way to the bank.

        What is waits in the store until it has arrived. Another process may have read that before,
        give it to the bank later, and be killed before it says so: then only what is owed tells.
        """
        return not removed.episodes or await self._alone()

    @asynccontextmanager
    async def _no_delivery(self) -> AsyncIterator[None]:
        """Wait for the delivery under way, and keep the next one from beginning."""
        patience = self._config.outbox.deadline
        async with AsyncExitStack() as turn:
            try:
                with anyio.fail_after(patience):
                    await turn.enter_async_context(self._queue.sending)
            except TimeoutError as exc:
                raise BankUnavailableError(
                    f"a delivery has been under way for more than {patience:g} s"
                ) from exc
            yield
