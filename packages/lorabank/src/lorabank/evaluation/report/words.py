"""Numbers as text."""

from __future__ import annotations

from lorabank.evaluation.bootstrap import Interval


def percent(value: float, digits: int = 0) -> str:
    """``0.123`` -> ``+12 %``."""
    return f"{100 * value:+.{digits}f} %"


def share(interval: Interval, digits: int = 0) -> str:
    """``+12 % [+3, +21]``."""
    low, high = 100 * interval.lower, 100 * interval.upper
    return f"{percent(interval.mean, digits)} [{low:+.{digits}f}, {high:+.{digits}f}]"


def nats(interval: Interval, digits: int = 3) -> str:
    """``-0.123 [-0.200, -0.050]``."""
    low, high = f"{interval.lower:+.{digits}f}", f"{interval.upper:+.{digits}f}"
    return f"{interval.mean:+.{digits}f} [{low}, {high}]"
