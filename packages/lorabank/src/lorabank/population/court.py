"""Whether calibrated experts are kept, on users that nothing was chosen on."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass, replace

import numpy as np

from lorabank.config import MixtureConfig
from lorabank.population.experts import Candidate
from lorabank.population.ground import Ground
from lorabank.population.model import IDENTITY, Expert
from lorabank.population.proof import paired_evidence
from lorabank.population.report import ExpertReport
from lorabank.population.trust import mixed_losses, trusted
from lorabank.statistics.scores import ndcg, user_means
from lorabank.types.arrays import AnyFloatArray, BoolArray, IntArray
from lorabank.types.skill import Evidence


@dataclass(frozen=True, slots=True, eq=False)
class Verdict:
    """The expert, or None if its gain is not proved, and what was found."""

    expert: Expert | None
    report: ExpertReport


def without(verdict: Verdict, names: Container[str | None]) -> Verdict:
    """The verdict; its expert is not served if it is of these names: one with more parts is."""
    if verdict.expert is None or verdict.report.name not in names:
        return verdict
    reason = f"{verdict.report.reason}; one with more parts takes its place"
    return Verdict(None, replace(verdict.report, kept=False, reason=reason))


class Court:
    """Judges candidates on the same rows, the identity first, children after their parents."""

    def __init__(self, ground: Ground, confidence: float, groups: int = 0) -> None:
        """``groups`` that will be judged: the more, the more each has to show (Bonferroni)."""
        self._ground = ground
        self._confidence = confidence
        self._of_groups = 1 - (1 - confidence) / max(1, groups)
        self._user: IntArray = ground.rows.user[ground.proof]
        self._losses: dict[str, AnyFloatArray] = {}

    def judge(self, candidate: Candidate) -> Verdict:
        """Compare with the parent on all users.

        What was learned from people must beat its parent, which may not be kept itself, and the
        identity by the lower bound. Another combination
        of parts is kept unless the upper bound says that it is worse than its parent or the
        identity, or it makes nothing of its parts: a mixture that weighs its experts by what they
        predict can use it.
        """
        losses, ranks = self._heard(candidate)
        rows = np.ones(len(losses), np.bool_)
        evidence, kept, reason = self._compare(candidate)
        report = self._report(candidate, ranks, rows, evidence, kept, reason)
        return Verdict(candidate.expert(self._gain(losses)) if kept else None, report)

    def judge_group(
        self, candidate: Candidate, users: BoolArray, served: Sequence[Expert]
    ) -> Verdict:
        """Compare a group's expert with its parent, and with its control.

        By itself it must beat both on the group's own users (a mask over all), and in the mixture
        that serves everyone it must be worth its place: all users must be better off with it than
        without, and than with the control in its place. All by the lower bound.

        Args:
            candidate: judged already is its parent.
            users: (users,) who is in the group.
            served: the experts for everyone that were kept.
        """
        losses, ranks = self._heard(candidate)
        rows = users[self._user]
        evidence, kept, reason = self._of_group(candidate, rows, served)
        report = self._report(candidate, ranks, rows, evidence, kept, reason)
        return Verdict(candidate.expert(self._gain(losses)) if kept else None, report)

    def trusted(self, experts: Sequence[Expert]) -> tuple[Expert, ...]:
        """Experts that were judged, each trusted as far as it was borne out beside the others."""
        losses = [self._losses[expert.name] for expert in experts]
        return trusted(experts, losses, self._user)

    def _heard(self, candidate: Candidate) -> tuple[AnyFloatArray, AnyFloatArray]:
        """Losses and ranks of all rows."""
        losses, ranks = candidate.predictor.judge(self._ground, self._ground.proof)
        self._losses[candidate.name] = losses
        return losses, ranks

    def _gain(self, losses: AnyFloatArray) -> float:
        """On everyone, as a mixture serves everyone."""
        return float(user_means(self._losses[IDENTITY] - losses, self._user).mean())

    def _report(
        self,
        candidate: Candidate,
        ranks: AnyFloatArray,
        rows: BoolArray,
        evidence: Evidence | None,
        kept: bool,
        reason: str,
    ) -> ExpertReport:
        losses, user = self._losses[candidate.name][rows], self._user[rows]
        return ExpertReport(
            name=candidate.name,
            parent=candidate.parent,
            nll=float(user_means(losses, user).mean()),
            ndcg=float(user_means(ndcg(ranks[rows]), user).mean()),
            evidence=evidence,
            kept=kept,
            reason=reason,
        )

    def _compare(self, candidate: Candidate) -> tuple[Evidence | None, bool, str]:
        if candidate.parent is None:
            return None, True, "what everything is compared with"
        evidence = self._over(candidate.name, candidate.parent)
        identity = self._over(candidate.name, IDENTITY)
        if candidate.must == "nothing":
            return evidence, True, "for users about whom nothing else is known"
        if candidate.must == "not be worse":
            if candidate.idle:
                return evidence, False, "says what another one says already"
            kept = min(evidence.upper, identity.upper) >= 0
            return evidence, kept, f"{'not ' if kept else ''}proved worse on new users"
        if not evidence.lower > 0:
            return evidence, False, "not better than its parent on new users"
        if not identity.lower > 0:
            return evidence, False, "its parent is no good, and it is not better than the identity"
        return evidence, True, "better than its parent on new users"

    def _of_group(
        self, candidate: Candidate, rows: BoolArray, served: Sequence[Expert]
    ) -> tuple[Evidence, bool, str]:
        assert candidate.parent is not None
        assert candidate.control is not None
        ours, control = self._losses[candidate.name], self._control(candidate)
        user, confidence = self._user, self._of_groups
        parent = self._losses[candidate.parent]
        evidence = paired_evidence(ours[rows], parent[rows], user[rows], confidence)
        if not evidence.lower > 0:
            return evidence, False, "not better than its parent on new users"
        by_chance = paired_evidence(ours[rows], control[rows], user[rows], confidence)
        if not by_chance.lower > 0:
            return evidence, False, "not better than with as many users at random"
        mixed = self._mixed(candidate, ours, served)
        known = [self._losses[expert.name] for expert in served]
        without_it = mixed_losses(self.trusted(served), known, user, MixtureConfig())
        if not paired_evidence(mixed, without_it, user, confidence).lower > 0:
            return evidence, False, "everyone is as well off without it"
        in_its_place = self._mixed(candidate, control, served)
        if not paired_evidence(mixed, in_its_place, user, confidence).lower > 0:
            return evidence, False, "everyone is as well off with as many users at random"
        return evidence, True, "better than its parent on new users"

    def _control(self, candidate: Candidate) -> AnyFloatArray:
        assert candidate.control is not None
        losses, _ = candidate.control.judge(self._ground, self._ground.proof)
        return losses

    def _mixed(
        self, candidate: Candidate, losses: AnyFloatArray, served: Sequence[Expert]
    ) -> AnyFloatArray:
        """Losses of the mixture of what is served with an expert of these losses."""
        experts = (*served, candidate.expert(self._gain(losses)))
        heard = [*(self._losses[expert.name] for expert in served), losses]
        experts = trusted(experts, heard, self._user)
        return mixed_losses(experts, heard, self._user, MixtureConfig())

    def _over(self, child: str, parent: str) -> Evidence:
        ours, theirs = self._losses[child], self._losses[parent]
        return paired_evidence(ours, theirs, self._user, self._confidence)
