"""Updates of users: one at a time for each, some at once in all, committed or not at all."""

from __future__ import annotations

from collections.abc import Callable

import anyio

from lorabank.adapter import Adapter
from lorabank.clock import Clock
from lorabank.engine import LoRAPersonalizationEngine, UpdateReport
from lorabank.errors import InvalidInputError, StoreUnavailableError, VersionConflictError
from lorabank.logs import get_logger
from lorabank.personalizer.adapters import Adapters
from lorabank.personalizer.hot import Hot
from lorabank.personalizer.locks import KeyedLocks, Turns
from lorabank.personalizer.populations import Populations
from lorabank.stores import AdapterStore, Change, Experience
from lorabank.types.checks import check_text
from lorabank.types.feedback import Feedback
from lorabank.types.identifiers import user_key
from lorabank.types.pattern import Pattern

log = get_logger(__name__)


class Learner:
    """Runs updates. Belongs to one event loop.

    Args:
        engine: computes them.
        store: they are committed to it.
        adapters: where they start from.
        populations: what they stand on.
        locks: one per user.
        clock: dates the experience.
        concurrency: updates under way at once.
        patience: seconds to wait for a turn, and to go on against other writers.
        queued: called when an episode was committed.
    """

    def __init__(
        self,
        engine: LoRAPersonalizationEngine,
        store: AdapterStore,
        adapters: Adapters,
        populations: Populations,
        locks: KeyedLocks,
        clock: Clock,
        *,
        concurrency: int,
        patience: float,
        queued: Callable[[], None],
    ) -> None:
        self._engine = engine
        self._store = store
        self._adapters = adapters
        self._populations = populations
        self._locks = locks
        self._clock = clock
        self._admission = Turns(concurrency)
        self._patience = patience
        self._queued = queued

    async def learn(self, user_id: str, feedback: Feedback) -> UpdateReport:
        """See `Personalizer.learn`."""
        check_text(user_id, "user_id")
        if not isinstance(feedback, Feedback):
            raise InvalidInputError("feedback", feedback, "a Feedback")
        deadline = anyio.current_time() + self._patience
        await self._take_turn(user_id)
        try:
            return await self._learn(user_id, feedback, deadline)
        finally:
            self._admission.release()
            self._locks.release(user_id)

    async def _learn(self, user_id: str, feedback: Feedback, deadline: float) -> UpdateReport:
        while True:
            await self._populations.current()
            hot = await self._adapters.to_update(user_id, feedback)
            await self._populations.catch_up_with(hot.adapter)
            try:
                return await self._update(user_id, hot, feedback)
            except VersionConflictError as exc:
                log.debug("adapter changed elsewhere, computing the update again")
                if anyio.current_time() > deadline:
                    raise StoreUnavailableError(
                        f"other processes kept changing this adapter for {self._patience:g} s"
                    ) from exc

    async def _take_turn(self, user_id: str) -> None:
        """The user's lock, then a place among the updates under way, within patience."""
        locked = self._locks.take(user_id)
        if locked and self._admission.take():
            return
        try:
            with anyio.fail_after(self._patience):
                if not locked:
                    await self._locks.wait(user_id)
                    locked = True
                await self._admission.wait()
        except BaseException as exc:
            if locked:
                self._locks.release(user_id)
            if not isinstance(exc, TimeoutError):
                raise
            raise StoreUnavailableError(
                f"no turn within {self._patience:g} s: callers outrun this machine; "
                "send fewer at once, or raise 'patience'"
            ) from exc

    async def _update(self, user_id: str, hot: Hot, feedback: Feedback) -> UpdateReport:
        key = user_key(user_id, self._engine.config.user_key_secret)

        async def commit(updated: Adapter, finished: Pattern | None) -> None:
            await self._adapters.make_room(updated.rank)
            updated, lease = self._adapters.settled(updated)
            revision = await self._store.commit(
                Change(
                    adapter=updated,
                    user_key=key,
                    expected=hot.revision,
                    episodes=() if finished is None else (finished,),
                    experience=Experience(key, feedback, self._clock.wall()),
                )
            )
            self._adapters.keep(user_id, updated, lease, revision)

        try:
            _, report = await self._engine.update_adapter(hot.adapter, feedback, commit=commit)
        except BaseException:
            # It may be that the store holds another adapter by now.
            self._adapters.drop(user_id)
            raise
        if report.finished is not None:
            self._queued()
        return report
