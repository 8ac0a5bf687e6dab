"""Laws of many tasks at once, and of the event loop."""

from __future__ import annotations

import contextlib
import itertools
from typing import ClassVar

import anyio
import numpy as np

from lorabank.errors import VersionConflictError
from lorabank.stores import AdapterStore, Change, Experience
from lorabank.types.weights import Weights
from lorabank_conformance.adapters.base import AdapterSuite, key_of
from lorabank_conformance.heartbeat import assert_never_blocked
from lorabank_conformance.laws import law
from lorabank_conformance.samples import NOW

COMMITTERS = 100


class ConcurrencyLaws(AdapterSuite):
    """Concurrency.

    Attributes:
        longest_pause: seconds for which a store may keep the event loop to itself, at most.
    """

    longest_pause: ClassVar[float] = 0.1

    @law(prepared=False)
    async def test_one_winner(self, store: AdapterStore) -> None:
        """Protects updates: of many committers at one revision exactly one wins, in every round.

        The others have changed nothing: no adapter, no episode, no experience.
        """
        expected = None
        for round_number in range(5):
            winners: list[tuple[int, int]] = []

            async def commit(
                version: int, expected: int | None, winners: list[tuple[int, int]]
            ) -> None:
                change = self.build.change(
                    "ada", version, expected, episodes=(f"of {version}",), seen=1
                )
                with contextlib.suppress(VersionConflictError):
                    winners.append((version, await store.commit(change)))

            async with anyio.create_task_group() as tasks:
                for i in range(COMMITTERS):
                    tasks.start_soon(commit, 1000 * round_number + i, expected, winners)
            ((version, expected),) = winners
            found = await store.get("ada")
            assert found is not None
            assert (found.adapter.version, found.revision) == (version, expected)
            queued = await store.queued(1000)
            assert [e.pattern.id for e in queued] == [f"of {version}"]
            await store.settle(queued)
            assert (await store.counts()).experiences == round_number + 1

    @law(prepared=False)
    async def test_many_users(self, store: AdapterStore) -> None:
        """Protects a busy service: users beside each other lose nothing, each in order."""

        async def learn(user: str) -> None:
            revision = None
            for version in range(1, 4):
                names = (f"{user} {version}",)
                change = self.build.change(user, version, revision, episodes=names, seen=1)
                revision = await store.commit(change)
                found = await store.get(user)
                assert found is not None
                assert found.adapter.version == version

        users = [f"user{i:03}" for i in range(COMMITTERS)]
        async with anyio.create_task_group() as tasks:
            for user in users:
                tasks.start_soon(learn, user)
        assert await store.scan(None, 1000) == users
        episodes = [e.pattern for e in await store.queued(1000)]
        for user in users:
            own = [p.id for p in episodes if p.user_key == key_of(user)]
            assert own == [f"{user} {version}" for version in (1, 2, 3)]

    @law(prepared=False)
    async def test_loop_never_blocked(self, store: AdapterStore) -> None:
        """Protects every other request of the service: a store works beside the event loop.

        A task that only ticks must get its turn while large adapters are committed and read, and
        the replay is fetched. What the machine itself holds up is measured beside it.
        """
        dim = self.make.space.dim
        A = np.ones((4096 // dim, dim), np.float32)
        weights, batches = Weights(A, A.T.copy()), itertools.count()

        async def commit() -> None:
            number = next(batches)
            async with anyio.create_task_group() as tasks:
                for i in range(200):
                    change = self._large_change(f"user{number}-{i}", weights)
                    tasks.start_soon(store.commit, change)

        async def read() -> None:
            for i in range(20):
                await store.get(f"user0-{i}")
            await store.experiences(NOW)

        async def settle() -> None:
            await store.settle(await store.queued(1000))

        works = {"commit": commit, "get, experiences": read, "queued, settle": settle}
        await assert_never_blocked(works, self.longest_pause)

    def _large_change(self, user: str, weights: Weights) -> Change:
        build = self.build
        return Change(
            build.adapter(user, weights=weights),
            key_of(user),
            None,
            (build.episode(user, user),),
            Experience(key_of(user), build.batch(100), NOW),
        )
