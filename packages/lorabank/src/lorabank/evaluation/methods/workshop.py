"""What several methods share, made once per run."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from lorabank.evaluation.ground import Ground
from lorabank.evaluation.methods.base import Calibrated
from lorabank.evaluation.methods.history import fit_identity
from lorabank.evaluation.methods.neighbours import pair_tables


@dataclass(frozen=True, eq=False)
class Workshop:
    """Made from past users alone, when first asked for."""

    ground: Ground

    @cached_property
    def identity(self) -> Calibrated:
        """The frozen contexts with calibrated weights: what adapters start as."""
        return fit_identity(self.ground)

    @cached_property
    def tables(self) -> dict[bool, Any]:
        """Of item-kNN: directed or not."""
        return pair_tables(self.ground)
