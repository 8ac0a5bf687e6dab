"""Patterns and skills for these tests."""

from __future__ import annotations

from typing import Any

from lorabank.types.pattern import Pattern
from lorabank.types.query import EVERYTHING
from lorabank.types.space import EmbeddingSpace
from lorabank_agentic_flow import AgenticFlowStore
from lorabank_conformance.samples import NAMESPACE, Samples, outcome

SPACE = EmbeddingSpace("tests", 8)
MAKE = Samples(SPACE)
LATER = 4e9  # unix seconds: every episode is older


def pattern(number: int, **changes: Any) -> Pattern:
    """The pattern of this number."""
    fields: dict[str, Any] = {"task": f"task {number}", "outcome": outcome()} | changes
    return MAKE.pattern(f"p{number:03}", MAKE.axis(number), **fields)


async def ids(store: AgenticFlowStore) -> list[str]:
    """Ids of all patterns."""
    return [found.id for found in await store.scan(NAMESPACE, EVERYTHING, None, 10_000)]
