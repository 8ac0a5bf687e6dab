"""From episodes and past feedback to skills: evidence from the bank, weights trained here."""

from lorabank.consolidation.consolidator import Consolidator, Experiences
from lorabank.consolidation.report import ConsolidationReport, Progress, SkillReport

__all__ = ["ConsolidationReport", "Consolidator", "Experiences", "Progress", "SkillReport"]
