"""What a bank is asked with."""

from __future__ import annotations

from dataclasses import dataclass, field

from lorabank.errors import InvalidInputError
from lorabank.types.arrays import FloatArray, as_vector, frozen
from lorabank.types.checks import check_count, check_number, check_positive, check_text
from lorabank.types.hyperparameters import Hyperparameters
from lorabank.types.pattern import Pattern

HALF_LIFE = 90 * 86_400.0


@dataclass(frozen=True, slots=True)
class PatternFilter:
    """Conditions that a pattern must all meet; ``None`` means "any". Applied inside a search.

    Attributes:
        user_key: exactly this user.
        exclude_user_key: anyone but this user.
        min_reward: outcome reward at least this; patterns without outcome never pass.
        success: outcome success equals this; patterns without outcome never pass.
        since, until: ``since <= created_at < until``, unix seconds.
        objective, rank: exactly these.
        has_trial: with (True) or without (False) a finished shadow trial.
    """

    user_key: str | None = None
    exclude_user_key: str | None = None
    min_reward: float | None = None
    success: bool | None = None
    since: float | None = None
    until: float | None = None
    objective: str | None = None
    rank: int | None = None
    has_trial: bool | None = None

    def matches(self, pattern: Pattern) -> bool:
        """The reference meaning of a filter: backends must agree with it."""
        return (
            (self.user_key is None or pattern.user_key == self.user_key)
            and (self.exclude_user_key is None or pattern.user_key != self.exclude_user_key)
            and (self.objective is None or pattern.objective == self.objective)
            and (self.rank is None or pattern.rank == self.rank)
            and (self.since is None or pattern.created_at >= self.since)
            and (self.until is None or pattern.created_at < self.until)
            and (self.has_trial is None or (pattern.trial is not None) == self.has_trial)
            and self._matches_outcome(pattern)
        )

    def _matches_outcome(self, pattern: Pattern) -> bool:
        if self.min_reward is None and self.success is None:
            return True
        if pattern.outcome is None:
            return False
        return (self.min_reward is None or pattern.outcome.reward >= self.min_reward) and (
            self.success is None or pattern.outcome.success == self.success
        )


EVERYTHING = PatternFilter()


@dataclass(frozen=True, slots=True, eq=False)
class Query:
    """A question to a bank: who is like this, and what helped them?

    Attributes:
        namespace: only patterns of this namespace are seen.
        context: float32 (dim,), or None to have ``task`` embedded by the bank's embedder.
        task: text; metadata unless it must stand in for the context.
        k: how many patterns to return, >= 0.
        where: conditions on the patterns.
        defaults: what the caller would use without an answer; effects are relative to them.
        asker: key of the user that this is for: its own trials are no evidence about others.
        half_life: seconds in which evidence loses half of its weight, counted back from the
            newest trial: without news, nothing grows old.
    """

    namespace: str = "default"
    context: FloatArray | None = None
    task: str | None = None
    k: int = 5
    where: PatternFilter = EVERYTHING
    defaults: Hyperparameters = field(default_factory=Hyperparameters)
    asker: str | None = None
    half_life: float = HALF_LIFE

    def __post_init__(self) -> None:
        check_text(self.namespace, "query.namespace")
        check_count(self.k, "query.k")
        check_positive(self.half_life, "query.half_life")
        if self.context is None and not self.task:
            raise InvalidInputError("query", "neither context nor task", "at least one of them")
        if self.context is not None:
            context = frozen(as_vector(self.context, "query.context"))
            object.__setattr__(self, "context", context)
        if self.where.min_reward is not None:
            check_number(self.where.min_reward, "query.where.min_reward", low=-1e30)
