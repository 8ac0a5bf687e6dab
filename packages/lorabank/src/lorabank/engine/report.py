"""What `update_adapter` and `stats` tell."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Any, Literal, NamedTuple, TypeAlias

from lorabank.adaptation.mixing import MixtureReport
from lorabank.adapter import Adapter
from lorabank.engine.inquiry import CacheState
from lorabank.hints import explain_strategy, fitted
from lorabank.types.flat import Flat, from_flat
from lorabank.types.hyperparameters import DEFAULTS, Hyperparameters, Selection
from lorabank.types.pattern import Match, Pattern
from lorabank.types.strategy import Strategy

BankState: TypeAlias = Literal["disconnected", "connected", "degraded"]
EpisodeState: TypeAlias = Literal["none", "pending", "queued", "rejected"]


@dataclass(frozen=True, slots=True)
class HintUse:
    """Which hints an update used, and why or why not.

    Attributes:
        selection: "default" (nothing to go by), "hinted", "holdout" (never hinted) or "explored".
        applied: the parameters that were hinted.
        refused: one sentence for each hint that was turned down.
        strategy: the bank's answer, None without one.
        similar: the patterns it found.
        defaults: what is used where nothing is hinted.
    """

    selection: Selection
    applied: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    strategy: Strategy | None = None
    similar: tuple[Match, ...] = field(default=(), repr=False)
    defaults: Hyperparameters = DEFAULTS

    def explain(self) -> str:
        """As text of at most 80 columns.

        What was hinted; its effect with interval, trials, users and n_eff, also on users who had
        no part in choosing it; what the default would have done; which episodes say so.
        """
        return fitted(self._lines())

    def _lines(self) -> Iterator[str]:
        yield f"selection: {self.selection}"
        yield from (f"refused: {reason}" for reason in self.refused)
        if self.strategy is not None:
            yield from explain_strategy(self.strategy, self.defaults, self.applied)


class KeptHintUse(HintUse):
    """The same, of an answer in the cache: it is put together once somebody looks at it."""

    __slots__ = ("_flat_patterns", "_flat_strategy", "_found")
    _flat_strategy: Flat
    _flat_patterns: Flat | None
    _found: tuple[Strategy, tuple[Match, ...]] | None

    @classmethod
    def of(
        cls,
        selection: Selection,
        applied: tuple[str, ...],
        refused: tuple[str, ...],
        flat_strategy: Flat,
        flat_patterns: Flat | None,
        defaults: Hyperparameters,
    ) -> KeptHintUse:
        """See `HintUse`; patterns None are those of the strategy."""
        use, put = cls.__new__(cls), object.__setattr__
        put(use, "selection", selection)
        put(use, "applied", applied)
        put(use, "refused", refused)
        put(use, "defaults", defaults)
        put(use, "_flat_strategy", flat_strategy)
        put(use, "_flat_patterns", flat_patterns)
        put(use, "_found", None)
        return use

    @property
    def strategy(self) -> Strategy:
        """The bank's answer."""
        return self._both()[0]

    @property
    def similar(self) -> tuple[Match, ...]:
        """The patterns it found."""
        return self._both()[1]

    def _both(self) -> tuple[Strategy, tuple[Match, ...]]:
        found = self._found
        if found is None:
            strategy: Strategy = from_flat(self._flat_strategy)
            others = self._flat_patterns
            found = strategy, strategy.patterns if others is None else from_flat(others)
            object.__setattr__(self, "_found", found)
        return found

    def __reduce__(self) -> tuple[Any, ...]:
        """Copied, and sent to other processes, as what it stands for."""
        values = (getattr(self, part.name) for part in fields(HintUse))
        return HintUse, tuple(values)


@dataclass(frozen=True, slots=True)
class PhaseSeconds:
    """Wall time of each phase of an update, in seconds.

    ``wait`` is the part of ``query`` that it waited for the bank (or looked into the cache).
    """

    query: float
    gradients: float
    apply: float
    store: float
    wait: float = 0.0

    @property
    def total(self) -> float:
        """All phases together."""
        return self.query + self.gradients + self.apply + self.store


@dataclass(frozen=True, slots=True)
class UpdateReport:
    """What one update did.

    Attributes:
        loss_before, loss_after: of the objective on the batch, before and after learning it.
        identity_loss: of the calibrated identity on the batch.
        plain_mse: the ordinary mean squared error before learning; None for "contrastive".
        gradient_norm: before clipping, at the last step.
        clipped: whether the gradient was clipped.
        hyperparameters: what the update ran with.
        hints: how they were chosen.
        cache: "hit", "miss" (asked and answered), "timeout", "failed", "degraded" (not asked) or
            "disconnected".
        bank: state of the bank when the update began.
        episode: "none" (no bank), "pending" (this update's own waits to be scored), "queued" or
            "rejected" (the previous update's, finished by this batch).
        finished: the previous update's episode, scored on this batch.
        seconds: per phase.
        drift, anchor_moved: of EWC++.
        in_trial: whether shadow arms ran beside it.
        mixture: how the experts of the population did on the batch, before it was learned; None
            without a population, or for feedback that does not say which items of the pool it is
            about.
    """

    loss_before: float
    loss_after: float
    identity_loss: float
    plain_mse: float | None
    gradient_norm: float
    clipped: bool
    hyperparameters: Hyperparameters
    hints: HintUse
    cache: CacheState
    bank: BankState
    episode: EpisodeState
    finished: Pattern | None = field(repr=False)
    seconds: PhaseSeconds
    drift: bool
    anchor_moved: bool
    in_trial: bool
    mixture: MixtureReport | None = None

    @property
    def improvement(self) -> float:
        """``loss_before - loss_after`` on the batch itself; the honest gain is the episode's."""
        return self.loss_before - self.loss_after


class UpdateResult(NamedTuple):
    """A new adapter, and the report of how it came about."""

    adapter: Adapter
    report: UpdateReport


@dataclass(frozen=True, slots=True)
class EngineStats:
    """Counts since the engine was opened.

    Attributes:
        updates: finished updates.
        bank: its state now.
        cache_hits, cache_misses, cache_entries, cache_bytes: of the query cache.
        delivered, waiting, rejected, dead: episodes, over all banks so far.
        replay_users, replay_bytes: of the experience replay.
        skills_used: adapters that started from a skill.
    """

    updates: int
    bank: BankState
    cache_hits: int
    cache_misses: int
    cache_entries: int
    cache_bytes: int
    delivered: int
    waiting: int
    rejected: int
    dead: int
    replay_users: int
    replay_bytes: int
    skills_used: int

    @property
    def cache_hit_rate(self) -> float:
        """Share of queries answered by the cache; 0 before the first."""
        asked = self.cache_hits + self.cache_misses
        return self.cache_hits / asked if asked else 0.0
