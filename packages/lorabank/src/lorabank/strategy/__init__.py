"""Strategy learning: from trials of similar users to hints with intervals."""

from lorabank.strategy.learn import EVIDENCE_LIMIT, evidence_filter, learn

__all__ = ["EVIDENCE_LIMIT", "evidence_filter", "learn"]
