"""Forgetting in the bank, and looking whether it did."""

from __future__ import annotations

import numpy as np

from lorabank.engine import LoRAPersonalizationEngine
from lorabank.types.query import PatternFilter, Query
from lorabank.waiting import within


async def forget_in_bank(
    engine: LoRAPersonalizationEngine, user_id: str | None, key: str
) -> tuple[int | None, tuple[str, ...]]:
    """Remove a user's patterns and the skills that the user is in.

    Returns how many patterns went and which skills; (None, ()) without a bank.

    Raises:
        BankError: the bank failed.
    """
    bank = engine.bank
    if bank is None:
        return None, ()
    namespace, deadline = engine.config.namespace, engine.config.query.deadline
    skills = await within(deadline, "skills", bank.skills, namespace)
    mine = tuple(skill.id for skill in skills if key in skill.user_keys)
    if user_id is None:
        return await within(deadline, "forget", bank.forget, namespace, key), mine
    return await engine.forget(user_id), mine


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
