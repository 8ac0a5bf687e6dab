"""How much a personalizer keeps in memory and does at once."""

from __future__ import annotations

from dataclasses import dataclass

from lorabank.types.checks import check_count, check_number, check_positive


@dataclass(frozen=True, slots=True)
class Limits:
    """See `Personalizer.open`, whose arguments these are.

    Raises:
        InvalidInputError: one is out of range.
    """

    hot_adapters: int
    hot_bytes: int
    fresh_for: float
    concurrency: int
    patience: float

    def __post_init__(self) -> None:
        check_count(self.hot_adapters, "hot_adapters", low=1)
        check_count(self.hot_bytes, "hot_bytes", low=1)
        check_number(self.fresh_for, "fresh_for", low=0.0)
        check_count(self.concurrency, "concurrency", low=1)
        check_positive(self.patience, "patience")
