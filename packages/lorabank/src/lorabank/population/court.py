"""Whether calibrated experts are kept, on users that nothing was chosen on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lorabank.population.experts import Candidate
from lorabank.population.ground import Ground
from lorabank.population.model import IDENTITY, Expert
from lorabank.population.proof import paired_evidence, user_means
from lorabank.population.report import ExpertReport
from lorabank.types.arrays import AnyFloatArray, BoolArray, IntArray
from lorabank.types.skill import Evidence

CUTOFF = 10


@dataclass(frozen=True, slots=True, eq=False)
class Verdict:
    """The expert, or None if its gain is not proved, and what was found."""

    expert: Expert | None
    report: ExpertReport


class Court:
    """Judges candidates on the same rows, the identity first, children after their parents."""

    def __init__(self, ground: Ground, confidence: float) -> None:
        self._ground = ground
        self._confidence = confidence
        self._user: IntArray = ground.rows.user[ground.proof]
        self._losses: dict[str, AnyFloatArray] = {}

    def judge(self, candidate: Candidate, users: BoolArray | None = None) -> Verdict:
        """Compare with the parent; ``users`` (users,) restricts the proof to those of a group.

        What was learned from people must beat its parent by the lower bound. Another combination
        of parts is kept unless the upper bound says that it is worse than its parent or the
        identity: a mixture that weighs its experts by what they predict can use it.
        """
        losses, ranks = candidate.predictor.judge(self._ground, self._ground.proof)
        self._losses[candidate.name] = losses
        rows = np.ones(len(losses), np.bool_) if users is None else users[self._user]
        gain = float(user_means((self._losses[IDENTITY] - losses)[rows], self._user[rows]).mean())
        evidence, kept, reason = self._compare(candidate, rows)
        report = ExpertReport(
            name=candidate.name,
            parent=candidate.parent,
            nll=float(user_means(losses[rows], self._user[rows]).mean()),
            ndcg=float(user_means(_ndcg(ranks[rows]), self._user[rows]).mean()),
            evidence=evidence,
            kept=kept,
            reason=reason,
        )
        return Verdict(candidate.expert(gain) if kept else None, report)

    def _compare(self, candidate: Candidate, rows: BoolArray) -> tuple[Evidence | None, bool, str]:
        if candidate.parent is None:
            return None, True, "what everything is compared with"
        evidence = self._evidence(candidate.name, candidate.parent, rows)
        if candidate.must == "not be worse":
            identity = self._evidence(candidate.name, IDENTITY, rows)
            kept = min(evidence.upper, identity.upper) >= 0
            return evidence, kept, f"{'not ' if kept else ''}proved worse on new users"
        kept = evidence.lower > 0
        return evidence, kept, f"{'' if kept else 'not '}better than its parent on new users"

    def _evidence(self, child: str, parent: str, rows: BoolArray) -> Evidence:
        ours, theirs = self._losses[child][rows], self._losses[parent][rows]
        return paired_evidence(ours, theirs, self._user[rows], self._confidence)


def _ndcg(rank: AnyFloatArray) -> AnyFloatArray:
    gain: AnyFloatArray = np.where(rank <= CUTOFF, 1.0 / np.log2(1.0 + rank), 0.0)
    return gain
