"""Consolidation: the bank groups episodes, weights are trained here, skills go to the bank.

What is shared beside the skills (see `lorabank.population`) is handed to the caller.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar, TypeVarTuple

import anyio
import numpy as np

from lorabank.adapter import lora_scale
from lorabank.clock import Clock
from lorabank.config import EngineConfig
from lorabank.consolidation.lesson import Enrolment, Lesson, enrol
from lorabank.consolidation.report import ConsolidationReport, Progress, SkillReport
from lorabank.consolidation.sharing import Sharing
from lorabank.errors import BankRejectedError, CapabilityError
from lorabank.numerics.lora import Matrices, initial_matrices
from lorabank.population.model import Population
from lorabank.population.proof import Candidate, mean_loss, prove
from lorabank.population.recorder import OnPopulationProgress
from lorabank.population.report import PopulationReport
from lorabank.population.rows import collect_rows
from lorabank.population.tasks import ContrastiveTask, MseTask, Task
from lorabank.population.training import Schedule, fit_epochs
from lorabank.protocols import ReasoningBank
from lorabank.turns import in_worker
from lorabank.types.feedback import Feedback
from lorabank.types.items import ItemPool
from lorabank.types.skill import Consolidation, ConsolidationCriteria, Evidence, Prior, Skill
from lorabank.types.weights import Weights
from lorabank.waiting import within

# Seconds: a bank may have to read every episode for this.
GROUPING_DEADLINE = 600.0
WRITING_DEADLINE = 60.0
OnProgress = Callable[[Progress], None]
Experiences = Callable[[], Awaitable[Mapping[str, Sequence[Feedback]]]]
T = TypeVar("T")
Ts = TypeVarTuple("Ts")


@dataclass(frozen=True, slots=True)
class _Trained:
    """Weights that were kept, as a prior and as a candidate for its children to beat.

    ``user_keys`` are all users behind the weights, those behind the parent's among them, sorted.
    """

    prior: Prior
    candidate: Candidate
    user_keys: tuple[str, ...]


class Consolidator:
    """Runs consolidations; training runs in worker threads, one epoch at a time."""

    def __init__(
        self,
        config: EngineConfig,
        pool: ItemPool | None,
        clock: Clock,
        threads: anyio.CapacityLimiter,
    ) -> None:
        self._config = config
        self._pool = pool
        self._clock = clock
        self._threads = threads
        self._sharing = Sharing(config, pool)
        self._forgotten: set[str] = set()

    def forget(self, user_key: str) -> None:
        """A consolidation under way stores nothing more that this user is in."""
        self._forgotten.add(user_key)

    async def run(
        self,
        bank: ReasoningBank,
        criteria: ConsolidationCriteria,
        experiences: Experiences,
        on_progress: OnProgress | None,
        on_population: OnPopulationProgress | None = None,
    ) -> ConsolidationReport:
        """Group, train, prove, store; then train what is shared, which the caller keeps.

        Raises:
            BankError: the bank failed, or did not answer in time.
        """
        started = self._clock.monotonic()
        self._forgotten.clear()
        found = await self._groups(bank, criteria)
        task = await self._task(await experiences())
        trained: dict[str, _Trained] = {}
        reports = []
        for skill in found.skills:
            parent = trained.get(skill.parent_id or "")
            report, result = await self._learn(skill, parent, task, criteria, on_progress)
            if result is not None:
                trained[skill.id] = result
            if report.evidence is not None:
                await self._store(bank, skill, result)
            reports.append(report)
        shared = await self._shared(task, found.skills, on_population)
        created = sum(skill.passed or skill.id in trained for skill in found.skills)
        return ConsolidationReport(
            skills_created=created,
            skills_with_weights=len(trained),
            episodes=found.episodes,
            groups=tuple(reports),
            seconds=self._clock.monotonic() - started,
            population=None if shared is None else shared[0],
            population_report=None if shared is None else shared[1],
        )

    async def share(
        self, experiences: Experiences, on_population: OnPopulationProgress | None
    ) -> ConsolidationReport:
        """Without a bank: what all users share, and no groups."""
        started = self._clock.monotonic()
        self._forgotten.clear()
        task = await self._task(await experiences())
        shared = await self._shared(task, (), on_population)
        population, report = shared or (None, None)
        seconds = self._clock.monotonic() - started
        return ConsolidationReport(0, 0, 0, (), seconds, population, report)

    async def _shared(
        self, task: Task | None, skills: tuple[Skill, ...], on_progress: OnPopulationProgress | None
    ) -> tuple[Population, PopulationReport] | None:
        rows = None if task is None else task.rows
        shared = await self._sharing.train(rows, skills, on_progress)
        if shared is not None and self._is_anyone_forgotten(shared[0].user_keys):
            return None  # the next consolidation is clean
        return shared

    async def _groups(self, bank: ReasoningBank, criteria: ConsolidationCriteria) -> Consolidation:
        namespace, deadline = self._config.namespace, GROUPING_DEADLINE
        group = bank.auto_consolidate
        found = await within(deadline, "auto_consolidate", group, namespace, criteria)
        if not isinstance(found, Consolidation):
            raise BankRejectedError(f"auto_consolidate answered a {type(found).__name__}")
        return found

    async def _task(self, experiences: Mapping[str, Sequence[Feedback]]) -> Task | None:
        """The local feedback as arrays; None if there is nothing to train on."""
        rows = await self._in_thread(collect_rows, experiences, self._config.objective)
        if rows is None:
            return None
        settings = self._config.contrastive
        if self._config.objective == "mse":
            return MseTask(rows, settings.calibration)
        assert self._pool is not None, "items in the replay come from a pool"
        config = replace(settings, negatives=self._config.prior.negatives)
        return ContrastiveTask(rows, self._pool, config)

    async def _learn(
        self,
        skill: Skill,
        parent: _Trained | None,
        task: Task | None,
        criteria: ConsolidationCriteria,
        on_progress: OnProgress | None,
    ) -> tuple[SkillReport, _Trained | None]:
        """Train one group's prior, and keep it if held-out users are better off with it."""
        if (skill.space, skill.objective) != (self._config.space, self._config.objective):
            return _untrained(skill, 0, 0, "of another space or objective"), None
        if task is None:
            return _untrained(skill, 0, 0, "no local feedback to train on"), None
        held_out, least = self._config.prior.held_out, self._config.prior.min_users
        enrolment = await self._in_thread(enrol, task, skill.user_keys, held_out)
        users, events = enrolment.users, len(enrolment.everyone)
        if enrolment.least < least:
            return _untrained(skill, users, events, "too few users to train and to prove"), None
        lesson = await self._lesson(skill, parent, task, enrolment, criteria)
        weights, evidence = await self._train(lesson, on_progress)
        result = None
        if weights is not None:
            result = await self._in_thread(self._trained, weights, evidence, skill, parent)
        kept = result is not None
        reason = "better than its parent" if kept else "not better than its parent"
        return SkillReport(
            skill.id, users, events, evidence, kept, f"{reason} on new users"
        ), result

    async def _lesson(
        self,
        skill: Skill,
        parent: _Trained | None,
        task: Task,
        enrolment: Enrolment,
        criteria: ConsolidationCriteria,
    ) -> Lesson:
        prior = self._config.prior
        if parent is not None:
            schedule = Schedule(prior.refine_learning_rate, prior.refine_epochs)
            candidate = parent.candidate
        else:
            schedule = Schedule(prior.learning_rate, prior.epochs)
            calibration = await self._in_thread(task.calibrate, None, enrolment.stop)
            candidate = Candidate(None, calibration)
        return Lesson(skill.id, task, enrolment, candidate, schedule, criteria.confidence)

    async def _train(
        self, lesson: Lesson, on_progress: OnProgress | None
    ) -> tuple[Candidate | None, Evidence]:
        """The weights, or None if they are not proved to be better than the parent's."""
        task, rows = lesson.task, lesson.enrolment
        best, epochs = await self._fit(lesson, on_progress)
        child = Candidate(best, await self._in_thread(task.calibrate, best, rows.stop))
        evidence = await self._in_thread(
            prove, task, child, lesson.parent, rows.proof, lesson.confidence
        )
        if not evidence.lower > 0:  # nor if it is not a number
            return None, evidence
        if self._config.prior.refit:
            best = await self._refit(lesson, epochs)
        return Candidate(best, child.calibration), evidence

    async def _fit(self, lesson: Lesson, on_progress: OnProgress | None) -> tuple[Matrices, int]:
        """Train on the fit users; the weights and number of the epoch that stops best."""
        start = self._start(lesson)
        rng = np.random.default_rng([self._config.seed, 1])
        config = self._config.prior
        stop, fit = lesson.enrolment.stop, lesson.enrolment.fit
        iterator = fit_epochs(lesson.task, start, fit, lesson.schedule, config, rng)
        best, best_epoch, best_loss = start, 0, np.inf
        for epoch in range(1, lesson.schedule.epochs + 1):
            m = await self._in_thread(next, iterator)
            calibration = await self._in_thread(lesson.task.calibrate, m, stop)
            candidate = Candidate(m, calibration)
            loss = await self._in_thread(mean_loss, lesson.task, candidate, stop)
            if loss < best_loss:
                best, best_epoch, best_loss = m, epoch, loss
            if on_progress is not None:
                on_progress(Progress(lesson.skill_id, epoch, lesson.schedule.epochs, loss))
        return best, best_epoch

    async def _refit(self, lesson: Lesson, epochs: int) -> Matrices:
        """The same training on all users of the group, as long as it was found to help."""
        rng = np.random.default_rng([self._config.seed, 1])
        config, m = self._config.prior, self._start(lesson)
        everyone = lesson.enrolment.everyone
        iterator = fit_epochs(lesson.task, m, everyone, lesson.schedule, config, rng)
        for _ in range(epochs):
            m = await self._in_thread(next, iterator)
        return m

    def _start(self, lesson: Lesson) -> Matrices:
        """The parent's weights, or fresh ones."""
        if lesson.parent.matrices is not None:
            return lesson.parent.matrices
        config = self._config
        rng = np.random.default_rng([config.seed, 0])
        scale = lora_scale(config.effective_alpha, config.rank, config.scaling)
        return Matrices(*initial_matrices(rng, config.rank, config.space.dim), scale)

    def _trained(
        self, candidate: Candidate, evidence: Evidence, skill: Skill, parent: _Trained | None
    ) -> _Trained:
        assert candidate.matrices is not None
        prior = Prior(
            weights=Weights(candidate.matrices.A, candidate.matrices.B),
            alpha=self._config.effective_alpha,
            scaling=self._config.scaling,
            tau=candidate.calibration.tau,
            prior_weight=candidate.calibration.prior_weight,
            evidence=evidence,
        )
        behind = set(skill.user_keys).union(() if parent is None else parent.user_keys)
        return _Trained(prior, candidate, tuple(sorted(behind)))

    async def _store(self, bank: ReasoningBank, skill: Skill, result: _Trained | None) -> None:
        """Store what was proved here; retire what was not.

        Groups that could not be trained here are left as the bank keeps them, with weights that
        somebody else may have proved.
        """
        if result is not None:
            await self._put(bank, replace(skill, prior=result.prior, user_keys=result.user_keys))
        elif skill.passed:
            await self._put(bank, skill)
        else:
            try:
                name, delete = skill.namespace, bank.delete_skill
                await within(WRITING_DEADLINE, "delete_skill", delete, name, skill.id)
            except CapabilityError:
                # Without weights and without hints, a skill that can't be deleted is harmless.
                await self._put(bank, skill)

    async def _put(self, bank: ReasoningBank, skill: Skill) -> None:
        """Unless a user in it was forgotten while it was made: the next consolidation is clean."""
        if not self._is_anyone_forgotten(skill.user_keys):
            await within(WRITING_DEADLINE, "put_skill", bank.put_skill, skill)

    def _is_anyone_forgotten(self, user_keys: Collection[str]) -> bool:
        return bool(self._forgotten) and not self._forgotten.isdisjoint(user_keys)

    async def _in_thread(self, function: Callable[[*Ts], T], *arguments: *Ts) -> T:
        return await in_worker(function, *arguments, limiter=self._threads)


def _untrained(skill: Skill, users: int, events: int, reason: str) -> SkillReport:
    return SkillReport(skill.id, users, events, None, False, reason)
