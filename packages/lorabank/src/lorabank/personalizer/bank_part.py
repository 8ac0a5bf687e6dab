"""The bank's part of forgetting a user: patterns, and skills that hold the user's share."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from lorabank.engine import LoRAPersonalizationEngine
from lorabank.protocols import Refusal
from lorabank.stores import AdapterStore, Duty
from lorabank.types.query import PatternFilter, Query
from lorabank.waiting import within


class BankPart:
    """What the bank that is connected, if any, knows of users.

    Args:
        engine: with the bank.
        store: notes that skills have to be made again.
        rebuild: called when skills went.
    """

    def __init__(
        self,
        engine: LoRAPersonalizationEngine,
        store: AdapterStore,
        rebuild: Callable[[], None],
    ) -> None:
        self._engine = engine
        self._store = store
        self._rebuild = rebuild

    async def forget(
        self, user_id: str | None, key: str, since: float | None
    ) -> tuple[int | None, tuple[str, ...]]:
        """Remove a user's patterns and the skills that the user is in.

        First the bank is told, if it can, to refuse what the user did before: somebody may be just
        delivering it, and come to the end of that at any time.

        Args:
            user_id: None if nobody knows it any more; then the engine's cache is left alone.
            key: the user's.
            since: when the user was forgotten, unix seconds; None if that is not known.

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
        if since is not None and isinstance(bank, Refusal):
            await within(deadline, "refuse", bank.refuse, namespace, key, since)
        if user_id is None:
            count = await within(deadline, "forget", bank.forget, namespace, key)
        else:
            count = await self._engine.forget(user_id)
        if mine:
            self._rebuild()
        return count, mine

    async def forget_again(self, duty: Duty) -> None:
        """After a forgetting that was cut off, or that a delivery crossed."""
        await self.forget(None, duty.key, duty.since)

    async def is_gone(self, key: str) -> bool:
        """Whether a search among this user's patterns finds none, and no skill names the user."""
        bank = self._engine.bank
        if bank is None:
            return True
        namespace, deadline = self._engine.config.namespace, self._engine.config.query.deadline
        query = Query(
            namespace=namespace,
            context=np.ones(self._engine.config.space.dim, np.float32),
            k=1,
            where=PatternFilter(user_key=key),
        )
        found = await within(deadline, "retrieve_patterns", bank.retrieve_patterns, query)
        skills = await within(deadline, "skills", bank.skills, namespace)
        return not found and not any(key in skill.user_keys for skill in skills)
