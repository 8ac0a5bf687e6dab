"""Whether calibrated experts are kept, on users that nothing was chosen on."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, replace

import numpy as np

from lorabank.population.experts import Candidate
from lorabank.population.ground import Ground
from lorabank.population.model import IDENTITY, Expert
from lorabank.population.predictor import Predictor
from lorabank.population.proof import ndcg, paired_evidence, user_means
from lorabank.population.report import ExpertReport
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

    def judge(self, candidate: Candidate, users: BoolArray | None = None) -> Verdict:
        """Compare with the parent; ``users`` (users,) restricts the proof to those of a group.

        What was learned from people must beat its parent by the lower bound, and its control, if
        it has one. Another combination
        of parts is kept unless the upper bound says that it is worse than its parent or the
        identity: a mixture that weighs its experts by what they predict can use it.
        """
        losses, ranks = candidate.predictor.judge(self._ground, self._ground.proof)
        self._losses[candidate.name] = losses
        rows = np.ones(len(losses), np.bool_) if users is None else users[self._user]
        # A mixture serves everyone: what an expert is trusted with at first is its gain on all.
        gain = float(user_means(self._losses[IDENTITY] - losses, self._user).mean())
        confidence = self._confidence if users is None else self._of_groups
        evidence, kept, reason = self._compare(candidate, rows, confidence)
        report = ExpertReport(
            name=candidate.name,
            parent=candidate.parent,
            nll=float(user_means(losses[rows], self._user[rows]).mean()),
            ndcg=float(user_means(ndcg(ranks[rows]), self._user[rows]).mean()),
            evidence=evidence,
            kept=kept,
            reason=reason,
        )
        return Verdict(candidate.expert(gain) if kept else None, report)

    def _compare(
        self, candidate: Candidate, rows: BoolArray, confidence: float
    ) -> tuple[Evidence | None, bool, str]:
        if candidate.parent is None:
            return None, True, "what everything is compared with"
        evidence = self._evidence(candidate.name, candidate.parent, rows, confidence)
        if candidate.must == "nothing":
            return evidence, True, "for users about whom nothing else is known"
        if candidate.must == "not be worse":
            identity = self._evidence(candidate.name, IDENTITY, rows, confidence)
            kept = min(evidence.upper, identity.upper) >= 0
            return evidence, kept, f"{'not ' if kept else ''}proved worse on new users"
        if not evidence.lower > 0:
            return evidence, False, "not better than its parent on new users"
        if candidate.control is not None:
            control = self._over_control(candidate.control, candidate.name, rows, confidence)
            if not control.lower > 0:
                return evidence, False, "not better than with as many users at random"
        return evidence, True, "better than its parent on new users"

    def _over_control(
        self, control: Predictor, name: str, rows: BoolArray, confidence: float
    ) -> Evidence:
        theirs, _ = control.judge(self._ground, self._ground.proof[rows])
        ours, user = self._losses[name][rows], self._user[rows]
        return paired_evidence(ours, theirs, user, confidence)

    def _evidence(self, child: str, parent: str, rows: BoolArray, confidence: float) -> Evidence:
        ours, theirs = self._losses[child][rows], self._losses[parent][rows]
        return paired_evidence(ours, theirs, self._user[rows], confidence)
