"""The engine: scheduling around the pure update step."""

from lorabank.engine.engine import LoRAPersonalizationEngine
from lorabank.engine.report import (
    EngineStats,
    HintUse,
    PhaseSeconds,
    UpdateReport,
    UpdateResult,
)
from lorabank.engine.updating import INLINE_WORK

__all__ = [
    "INLINE_WORK",
    "EngineStats",
    "HintUse",
    "LoRAPersonalizationEngine",
    "PhaseSeconds",
    "UpdateReport",
    "UpdateResult",
]
