"""From episodes and past feedback to skills: evidence from the bank, weights trained here."""

from lorabank.consolidation.consolidator import Consolidator
from lorabank.consolidation.report import ConsolidationReport, Progress, SkillReport

__all__ = ["ConsolidationReport", "Consolidator", "Progress", "SkillReport"]
