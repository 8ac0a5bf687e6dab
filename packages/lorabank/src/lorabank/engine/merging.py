"""Merging adapters: the average of what they do, not of their matrices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from lorabank.adapter import Adapter
from lorabank.errors import InvalidInputError
from lorabank.numerics.merging import merge_products
from lorabank.types.checks import check_number
from lorabank.types.weights import Weights


def merge(
    adapters: Sequence[Adapter], weights: Sequence[float] | None, user_id: str | None
) -> Adapter:
    """The weighted mean of the products B A, truncated to the adapters' rank.

    Raises:
        InvalidInputError: no adapters, or of different rank, space, objective or scale; weights
            that are negative, all zero, or not one per adapter.
    """
    if not adapters:
        raise InvalidInputError("adapters", "none", "at least one adapter")
    for adapter in adapters:
        if not isinstance(adapter, Adapter):
            raise InvalidInputError("adapters", adapter, "Adapter objects")
    first = adapters[0]
    for adapter in adapters[1:]:
        _check_alike(first, adapter)
    shares = _shares(weights, len(adapters))
    pairs = [(adapter.A, adapter.B) for adapter in adapters]
    A, B = merge_products(pairs, shares, first.rank)
    return replace(
        first,
        user_id=user_id or first.user_id,
        weights=Weights(A.astype(np.float32), B.astype(np.float32)),
        version=0,
        sample_count=sum(adapter.sample_count for adapter in adapters),
        skill_ids=tuple(dict.fromkeys(s for adapter in adapters for s in adapter.skill_ids)),
        anchor=None,
        pending=None,
        trial=None,
        rls=None,
        experts=None,
    )


def _check_alike(first: Adapter, other: Adapter) -> None:
    for field in ("rank", "space", "objective", "scale"):
        mine, theirs = getattr(first, field), getattr(other, field)
        if mine != theirs:
            raise InvalidInputError(f"adapters.{field}", theirs, f"{mine}, as the first one has")


def _shares(weights: Sequence[float] | None, count: int) -> list[float]:
    if weights is None:
        return [1.0 / count] * count
    if len(weights) != count:
        raise InvalidInputError("weights", len(weights), f"one per adapter ({count})")
    for weight in weights:
        check_number(weight, "weights", low=0.0)
    total = float(sum(weights))
    if total == 0:
        raise InvalidInputError("weights", list(weights), "at least one above zero")
    return [weight / total for weight in weights]
