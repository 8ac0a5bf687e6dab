"""Forgetting a user in the store and in the bank, and looking whether it did."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import anyio
import numpy as np

from lorabank.clock import Clock
from lorabank.engine import LoRAPersonalizationEngine
from lorabank.errors import BankUnavailableError
from lorabank.personalizer.adapters import Adapters
from lorabank.personalizer.courier import StoreQueue
from lorabank.personalizer.receipt import ForgetReceipt
from lorabank.stores import AdapterStore
from lorabank.types.identifiers import user_key
from lorabank.types.query import PatternFilter, Query
from lorabank.waiting import within


async def is_gone_from_bank(engine: LoRAPersonalizationEngine, key: str) -> bool:
    """Whether a search among this user's patterns finds none, and no skill names the user."""
    bank = engine.bank
    if bank is None:
        return True
    namespace, deadline = engine.config.namespace, engine.config.query.deadline
    query = Query(
        namespace=namespace,
        context=np.ones(engine.config.space.dim, np.float32),
        k=1,
        where=PatternFilter(user_key=key),
    )
    found = await within(deadline, "retrieve_patterns", bank.retrieve_patterns, query)
    skills = await within(deadline, "skills", bank.skills, namespace)
    return not found and not any(key in skill.user_keys for skill in skills)


class Forgetter:
    """Forgets users whose turn it is: hold the user's lock meanwhile.

    Args:
        engine: with the bank.
        store: forgets first, so that nothing more is delivered.
        adapters: what is hot is dropped.
        queue: its deliveries are kept from crossing.
        clock: tells since when.
        rebuild: called when skills went, or the population is to be made again.
    """

    def __init__(
        self,
        engine: LoRAPersonalizationEngine,
        store: AdapterStore,
        adapters: Adapters,
        queue: StoreQueue,
        clock: Clock,
        rebuild: Callable[[], None],
    ) -> None:
        self._engine = engine
        self._store = store
        self._adapters = adapters
        self._queue = queue
        self._clock = clock
        self._rebuild = rebuild

    async def forget(self, user_id: str) -> ForgetReceipt:
        """See `Personalizer.forget`."""
        key = user_key(user_id, self._engine.config.user_key_secret)
        try:
            removed = await self._store.forget(user_id, key, self._clock.wall())
            # As owed now: if somebody delivers the user's episodes meanwhile, it is owed anew.
            owed = await self._store.duties("forget", math.inf, key)
        finally:
            # Afterwards, so that nothing read before can come back.
            self._adapters.drop(user_id)
            self._queue.notify()
        async with self._no_delivery():
            patterns, skills = await self._forget_in_bank(user_id, key)
            if removed.populations:
                self._rebuild()
            remaining = await self._store.remains(user_id, key)
            gone = await is_gone_from_bank(self._engine, key)
        if patterns is not None and gone:
            for duty in owed:
                await self._store.discharge(duty)
        verified = remaining.total == 0 and gone
        return ForgetReceipt(key, removed, patterns, skills, remaining, verified)

    async def forget_again(self, key: str) -> None:
        """The bank's part of a forgetting that was cut off, or that a delivery crossed."""
        await self._forget_in_bank(None, key)

    async def _forget_in_bank(
        self, user_id: str | None, key: str
    ) -> tuple[int | None, tuple[str, ...]]:
        """Remove a user's patterns and the skills that the user is in.

        Returns how many patterns went and which skills; (None, ()) without a bank.

        Raises:
            BankError: the bank failed.
        """
        bank = self._engine.bank
        if bank is None:
            return None, ()
        config = self._engine.config
        namespace, deadline = config.namespace, config.query.deadline
        skills = await within(deadline, "skills", bank.skills, namespace)
        mine = tuple(skill.id for skill in skills if key in skill.user_keys)
        if mine:
            # Before they go: whoever dies now leaves a note that they are to be made again.
            await self._store.owe("rebuild", "")
        if user_id is None:
            count = await within(deadline, "forget", bank.forget, namespace, key)
        else:
            count = await self._engine.forget(user_id)
        if mine:
            self._rebuild()
        return count, mine

    @asynccontextmanager
    async def _no_delivery(self) -> AsyncIterator[None]:
        """Wait for the delivery under way, and keep the next one from beginning."""
        patience = self._engine.config.outbox.deadline
        async with AsyncExitStack() as turn:
            try:
                with anyio.fail_after(patience):
                    await turn.enter_async_context(self._queue.sending)
            except TimeoutError as exc:
                raise BankUnavailableError(
                    f"a delivery has been under way for more than {patience:g} s"
                ) from exc
            yield
