"""What users are served with: their own adapters, and the population's experts if there are any."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar, TypeVarTuple

import anyio
import anyio.to_thread
import numpy as np
from numpy.typing import ArrayLike

from lorabank.adapter import Adapter
from lorabank.config import EngineConfig
from lorabank.errors import InvalidInputError
from lorabank.experts import ExpertWeights, mixed_transform, trust
from lorabank.personalizer.adapters import Adapters
from lorabank.personalizer.many import ManyUsers
from lorabank.personalizer.populations import Populations
from lorabank.personalizer.ranking import Ranked, as_recent, rank_candidates, rank_mixed
from lorabank.personalizer.selection import Selection
from lorabank.types.arrays import (
    FloatArray,
    as_array,
    as_matrix,
    as_vector,
    check_out,
    read_only,
)
from lorabank.types.checks import check_text
from lorabank.types.items import ItemPool

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
# Numbers that are looked at (or multiplied with) in well under the 5 ms for which the event loop
# may be held up.
INLINE_NUMBERS = 1 << 20


class Serving:
    """Reads, computes and stores nothing. Belongs to one event loop.

    Args:
        config: the space, and how experts are mixed.
        items: the pool, or None.
        adapters: of the users.
        populations: what all users share.
        many: serves many at once.
        threads: for work that would hold up the event loop.
    """

    def __init__(
        self,
        config: EngineConfig,
        items: ItemPool | None,
        adapters: Adapters,
        populations: Populations,
        many: ManyUsers,
        threads: anyio.CapacityLimiter,
    ) -> None:
        self._dim = config.space.dim
        self._mixture = config.mixture
        self._items = items
        self._adapters = adapters
        self._populations = populations
        self._many = many
        self._threads = threads

    async def transform(self, user_id: str, X: ArrayLike) -> FloatArray:
        """See `Personalizer.transform`."""
        check_text(user_id, "user_id")
        size = as_array(X, "X").size
        context = await self._run(size, _mean_of, X, self._dim)
        experts = await self._populations.current()
        adapter = await self._adapters.to_serve(user_id, context)
        if experts is None:
            return await self._run(size * adapter.rank, adapter.transform, X)
        inputs = as_matrix(X, "X", adapter.dim)
        arguments = (adapter, experts, inputs, self._mixture)
        served = await self._run(size * adapter.dim, mixed_transform, *arguments)
        return served.reshape(np.shape(X))

    async def forward_many(
        self, users: Sequence[str] | Selection, X: ArrayLike, out: FloatArray | None
    ) -> FloatArray:
        """See `Personalizer.forward_many`."""
        inputs = as_matrix(X, "X", self._dim, checked=False)
        chosen = self._many.chosen(users)
        if len(chosen) != len(inputs):
            raise InvalidInputError("user_ids", users, f"one for each of {len(inputs)} rows")
        if out is None:
            out = np.empty_like(inputs)
        else:
            check_out(out, inputs.shape, inputs)
        if await self._populations.current() is None:
            return await self._many.forward(chosen, inputs, out)
        for row, user_id in enumerate(chosen.user_ids):
            out[row] = await self.transform(user_id, inputs[row])
        return out

    async def rank(
        self,
        user_id: str,
        context: ArrayLike,
        candidates: ArrayLike | None,
        k: int,
        recent: ArrayLike | None,
    ) -> list[Ranked]:
        """See `Personalizer.rank`."""
        check_text(user_id, "user_id")
        vector = as_vector(context, "context", self._dim)
        liked = as_recent(recent, self._items)
        experts = await self._populations.current()
        adapter = await self._adapters.to_serve(user_id, vector)
        if experts is None:
            return await self._rank_alone(adapter, vector, candidates, k)
        given = None if candidates is None else as_array(candidates, "candidates")
        count = len(experts.pool) if given is None else given.size
        work = count * adapter.dim * len(experts.names)
        arguments = (adapter, experts, vector, given, k, liked, self._mixture)
        return await self._run(work, rank_mixed, *arguments)

    async def expert_weights(self, user_id: str) -> ExpertWeights | None:
        """See `Personalizer.expert_weights`."""
        check_text(user_id, "user_id")
        experts = await self._populations.current()
        if experts is None:
            return None
        adapter = await self._adapters.known(user_id)
        state = None if adapter is None else adapter.experts
        return trust(state, experts, self._mixture)

    async def item_vectors(self) -> FloatArray:
        """See `Personalizer.item_vectors`."""
        if self._items is None:
            raise InvalidInputError("items", None, "a pool: open with items=")
        experts = await self._populations.current()
        vectors: FloatArray = self._items.vectors if experts is None else experts.item_vectors
        return read_only(vectors)

    async def _rank_alone(
        self, adapter: Adapter, context: FloatArray, candidates: ArrayLike | None, k: int
    ) -> list[Ranked]:
        size = 0 if self._items is None else self._items.vectors.size
        if candidates is not None:
            given = as_array(candidates, "candidates")
            size = given.size * (1 if given.ndim == 2 else len(context))
        return await self._run(size, rank_candidates, adapter, context, candidates, self._items, k)

    async def _run(self, work: int, function: Callable[[*Ts], T], *arguments: *Ts) -> T:
        """Small work stays inline; more goes to a worker thread."""
        if work <= INLINE_NUMBERS:
            return function(*arguments)
        return await anyio.to_thread.run_sync(function, *arguments, limiter=self._threads)


def _mean_of(X: ArrayLike, dim: int) -> FloatArray:
    """Stands for what the user likes now, if no more is known."""
    mean: FloatArray = as_matrix(X, "X", dim).mean(axis=0)
    return mean
