"""Laws of the embedding space: a store holds one, and refuses another."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lorabank.errors import EmbeddingSpaceError
from lorabank.protocols import PatternStore
from lorabank.types.pattern import Pattern
from lorabank.types.query import EVERYTHING
from lorabank_conformance.laws import law
from lorabank_conformance.samples import NAMESPACE, Samples
from lorabank_conformance.suite import Suite


class SpaceLaws(Suite):
    """The embedding space."""

    @law(prepared=False)
    async def test_bind_idempotent(self, store: PatternStore) -> None:
        """Protects engines that share a bank: binding again to the same space is nothing new."""
        assert store.space in (None, self.space)
        for _ in range(2):
            await store.bind(self.space)
            assert store.space == self.space
        await store.put_many([self.make.pattern("a")])
        await store.bind(self.space)
        assert (await store.stats(NAMESPACE)).patterns == 1

    @law()
    async def test_other_space_refused(self, store: PatternStore) -> None:
        """Protects against comparing vectors of two encoders: by name, dimension or length."""
        space, dim = self.space, self.space.dim
        others = [
            replace(space, name=f"{space.name}-2"),
            replace(space, dim=dim + 1),
            replace(space, normalised=not space.normalised),
        ]
        await store.put_many([self.make.pattern("a")])
        for other in others:
            with pytest.raises(EmbeddingSpaceError):
                await store.bind(other)
            with pytest.raises(EmbeddingSpaceError):
                await store.put_skill(Samples(other).skill("s"))
        assert store.space == self.space
        assert await store.list_skills(NAMESPACE) == []

    @law()
    async def test_other_dimension_refused(self, store: PatternStore) -> None:
        """Protects the index: vectors of another dimension are refused, stored or asked with."""
        await store.put_many([self.make.pattern("a")])
        for dim in (self.space.dim - 1, self.space.dim + 1):
            with pytest.raises(EmbeddingSpaceError):
                await store.put_many([self._of_dim("b", dim)])
            with pytest.raises(EmbeddingSpaceError):
                await store.search(NAMESPACE, np.ones(dim, np.float32), 1, EVERYTHING)
        assert (await store.stats(NAMESPACE)).patterns == 1

    @law(prepared=False)
    async def test_one_dimension_before_bind(self, store: PatternStore) -> None:
        """Protects stores that take vectors before `bind`: the first fix the dimension.

        A store may also refuse vectors until it is bound.
        """
        if store.space is None:
            with pytest.raises(EmbeddingSpaceError):
                await store.put_many([self._of_dim("a", 4), self._of_dim("b", 5)])
            assert (await store.stats(NAMESPACE)).patterns == 0
        try:
            await store.put_many([self.make.pattern("a")])
        except EmbeddingSpaceError:
            assert store.space is None
            return
        with pytest.raises(EmbeddingSpaceError):
            await store.put_many([self._of_dim("b", self.space.dim + 1)])
        with pytest.raises(EmbeddingSpaceError):
            await store.bind(replace(self.space, dim=self.space.dim + 1))
        await store.bind(self.space)

    def _of_dim(self, pattern_id: str, dim: int) -> Pattern:
        return self.make.pattern(pattern_id, np.ones(dim, np.float32))
