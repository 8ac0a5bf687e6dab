"""Figures as inline SVG, in Okabe and Ito's palette (2008), made for colour-blind readers too."""

from __future__ import annotations

import io
import re
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

BETTER, WORSE, NEUTRAL = "#0072B2", "#D55E00", "#767676"
SETTINGS: Any = {
    "svg.hashsalt": "lorabank",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e3e3e3",
    "axes.axisbelow": True,
    "legend.frameon": False,
}


def new_figure(panels: int, height: float) -> tuple[Figure, list[Axes]]:
    """A row of panels."""
    figure = Figure(figsize=(9, height), layout="constrained")
    grid = figure.subplots(1, panels, squeeze=False)
    return figure, list(grid[0])


def to_svg(figure: Figure, label: str) -> str:
    """Only the svg element, without the links to schemas that matplotlib puts around it."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    return text.replace("<svg", f'<svg role="img" aria-label="{label}"', 1)
