"""Hints as text and back, and their careful application."""

from lorabank.hints.apply import DEFAULT_BOUNDS, HintBounds, apply_hints
from lorabank.hints.explain import COLUMNS, explain_strategy, fitted
from lorabank.hints.parse import parse_hints
from lorabank.hints.render import render_strategy

__all__ = [
    "COLUMNS",
    "DEFAULT_BOUNDS",
    "HintBounds",
    "apply_hints",
    "explain_strategy",
    "fitted",
    "parse_hints",
    "render_strategy",
]
