"""The plots of an evaluation."""

from __future__ import annotations

import matplotlib as mpl
from matplotlib.ticker import MaxNLocator

from lorabank.evaluation.report.figures import (
    BETTER,
    NEUTRAL,
    SETTINGS,
    WORSE,
    new_figure,
    to_svg,
)
from lorabank.evaluation.report.results import Report

# Method -> colour and line of the curves; others would make them unreadable.
CURVES = {
    "popularity": ("#767676", ":"),
    "likely_blend": ("#E69F00", "--"),
    "likely_knn": ("#D55E00", "--"),
    "user_sgd": ("#CC79A7", "-."),
    "shared": ("#56B4E9", "-"),
    "residuals": ("#009E73", "-"),
    "everything": ("#0072B2", "-"),
}


def gains(report: Report) -> str:
    """nDCG of every method relative to the best frozen blend, with intervals."""
    with mpl.rc_context(SETTINGS):
        rows = [method for method in reversed(report.methods) if method.key != "blend"]
        figure, (axis,) = new_figure(1, height=1.0 + 0.27 * len(rows))
        for row, method in enumerate(rows):
            gain = method.ndcg_vs_blend
            low, mean, high = 100 * gain.lower, 100 * gain.mean, 100 * gain.upper
            colour = BETTER if low > 0 else WORSE if high < 0 else NEUTRAL
            axis.plot([low, high], [row, row], color=colour, lw=2.5)
            axis.plot([mean], [row], "o", color=colour, ms=6)
        axis.set_yticks(range(len(rows)), [method.name.strip() for method in rows])
        axis.axvline(0, color="#444444", lw=1)
        axis.set_xlabel("nDCG@10 relative to the best frozen blend, % (95 % interval)")
        return to_svg(figure, "nDCG of each method relative to the best frozen blend")


def curves(report: Report) -> str:
    """NLL, and what is gained on popularity, after each number of events."""
    with mpl.rc_context(SETTINGS):
        figure, axes = new_figure(2, height=3.6)
        titles = ("NLL (lower is better)", "NLL gained on popularity (higher is better)")
        for axis, title, series in zip(
            axes, titles, (report.curve.nll, report.curve.gain), strict=True
        ):
            for key, (colour, line) in CURVES.items():
                method = report.method(key)
                if method is not None:
                    points = range(1, report.curve.horizon + 1)
                    axis.plot(points, series[key], line, color=colour, label=method.name.strip())
            axis.set_title(title, fontsize=10, loc="left")
            axis.set_xlabel("events of the user")
            axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=4)
        return to_svg(figure, "Learning curves by the number of events")
