"""Users' batches through a real engine, in time order: each predicted before it is learned."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lorabank.adapter import Adapter
from lorabank.demo.keeping import Keeper
from lorabank.demo.protocol import Batch, Protocol
from lorabank.engine import UpdateReport
from lorabank.types.arrays import AnyFloatArray, FloatArray, IntArray
from lorabank.types.feedback import Feedback

OnBatch = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, eq=False)
class Served:
    """What was served for each event, before it was learned.

    Attributes:
        vectors: float32 (n, dim), by row of the events.
        tau, prior_weight: float32 (n,), calibration of the adapter that served it.
    """

    vectors: FloatArray
    tau: FloatArray
    prior_weight: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class Replayed:
    """What a replay leaves behind.

    Attributes:
        served: for each event, by the adapter as it was then.
        start: the same by the adapter that its user had started with.
        users, updates: how many, those of a killed run among them.
        continued: updates of the killed run.
        hinted: of this run's updates, those that ran with a bank's hints.
        spent: milliseconds of each update, by how the bank's answer was come by.
    """

    served: Served
    start: Served
    users: int
    updates: int
    continued: int
    hinted: int
    spent: Mapping[str, Sequence[float]]

    def milliseconds(self, cache: str) -> AnyFloatArray:
        """Of the updates whose advice was a "hit", a "miss", or "disconnected"."""
        return np.array(self.spent.get(cache, ()))


class Replay:
    """Sends batches one by one, and keeps what was served."""

    def __init__(self, keeper: Keeper, protocol: Protocol) -> None:
        self._keeper = keeper
        self._protocol = protocol
        self._adapters: dict[int, Adapter] = {}
        self._served = _nothing_served(protocol)
        self._start = _nothing_served(protocol)
        self._spent: defaultdict[str, list[float]] = defaultdict(list)
        self._hinted = 0

    async def take_up(self, batches: Sequence[Batch]) -> int:
        """Go on with the adapters that a killed run has kept; how many batches those know."""
        for user in {batch.user for batch in batches}:
            found = await self._keeper.find(user_id(user))
            if found is not None:
                self._adapters[user] = found
        return sum(self._knows(batch) for batch in batches)

    async def run(self, batches: Sequence[Batch], on_batch: OnBatch) -> Replayed:
        """Create each user's adapter at the first batch, then predict and learn, batch by batch.

        Whatever is finished is delivered before the bank is asked again, so that its answers do
        not depend on how fast it is. What was taken up is neither predicted nor learned again.
        """
        missing = [batch for batch in batches if not self._knows(batch)]
        continued = len(batches) - len(missing)
        for done, batch in enumerate(missing, start=continued + 1):
            adapter = self._adapters.get(batch.user)
            if adapter is None:
                adapter = await self._create(batch)
            self._keep(self._served, adapter, batch.rows)
            if adapter.version % self._keeper.engine.config.query.refresh_every == 0:
                await self._keeper.flush()
            result = await self._keeper.update(adapter, self._feedback(batch))
            self._adapters[batch.user] = result.adapter
            self._count(result.report)
            on_batch(done, len(batches))
        return Replayed(
            self._served,
            self._start,
            users=len(self._adapters),
            updates=len(batches),
            continued=continued,
            hinted=self._hinted,
            spent=self._spent,
        )

    async def _create(self, batch: Batch) -> Adapter:
        first = self._protocol.events.x[batch.rows[0]]
        adapter = await self._keeper.engine.create_adapter(user_id(batch.user), context=first)
        own = np.flatnonzero(self._protocol.events.user == batch.user)
        self._keep(self._start, adapter, own)
        return adapter

    def _knows(self, batch: Batch) -> bool:
        """Whether its user's adapter has learned it: each batch makes one version."""
        adapter = self._adapters.get(batch.user)
        return adapter is not None and batch.number < adapter.version

    def _keep(self, served: Served, adapter: Adapter, rows: IntArray) -> None:
        served.vectors[rows] = adapter.transform(self._protocol.events.x[rows])
        served.tau[rows] = adapter.tau
        served.prior_weight[rows] = adapter.prior_weight

    def _feedback(self, batch: Batch) -> Feedback:
        events = self._protocol.events
        return Feedback(events.x[batch.rows], items=events.target[batch.rows])

    def _count(self, report: UpdateReport) -> None:
        self._spent[report.cache].append(1000.0 * report.seconds.total)
        self._hinted += report.hints.selection == "hinted"


def user_id(user: int) -> str:
    """The name that the engine knows a user by."""
    return f"movielens-{user}"


def _nothing_served(protocol: Protocol) -> Served:
    count, dim = protocol.events.x.shape
    return Served(
        np.zeros((count, dim), np.float32),
        np.zeros(count, np.float32),
        np.zeros(count, np.float32),
    )
