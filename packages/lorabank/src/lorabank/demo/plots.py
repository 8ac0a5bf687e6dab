"""Plots as inline SVG, in Okabe and Ito's palette (2008), made for colour-blind readers too."""

from __future__ import annotations

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from lorabank.demo.results import Change, Method, Run
from lorabank.demo.scoring import NAMES
from lorabank.evaluation.report.figures import BETTER, SETTINGS, WORSE, new_figure, to_svg

COLOURS = {
    "popularity": "#767676",
    "blend": "#E69F00",
    "frozen": "#56B4E9",
    "without_bank": "#CC79A7",
    "bank_start": "#009E73",
    "with_bank": "#0072B2",
}
STYLES = {"blend": "--", "frozen": ":", "without_bank": "-.", "bank_start": "--", "with_bank": "-"}
LONGEST_CURVE = 20


def gains(run: Run) -> str:
    """nDCG of every method relative to the blend, with intervals."""
    with mpl.rc_context(SETTINGS):
        figure, axes = new_figure(1, height=2.9)
        rows = [method for method in reversed(run.methods) if method.key != "blend"]
        for row, method in enumerate(rows):
            _interval(axes[0], row, method)
        axes[0].set_yticks(range(len(rows)), [method.name for method in rows])
        axes[0].set_ylim(-0.6, len(rows) - 0.4)
        axes[0].axvline(0, color="#444444", lw=1)
        axes[0].set_xlabel("nDCG@10 relative to the tuned frozen blend, % (95 % interval)")
        return to_svg(figure, "nDCG of each method relative to the tuned frozen blend")


def learning_curve(run: Run) -> str:
    """nDCG and NLL after each number of updates."""
    with mpl.rc_context(SETTINGS):
        figure, axes = new_figure(2, height=3.6)
        points = run.learning_curve[:LONGEST_CURVE]
        updates = [point.updates for point in points]
        for key, style in STYLES.items():
            for axis, measure in zip(axes, ("ndcg", "nll"), strict=True):
                values = [getattr(point, measure)[key] for point in points]
                axis.plot(updates, values, style, color=COLOURS[key], label=NAMES[key], lw=1.8)
        for axis, label in zip(
            axes, ("nDCG@10 (higher is better)", "NLL (lower is better)"), strict=True
        ):
            axis.set_title(label, fontsize=10, loc="left")
            axis.set_xlabel("updates before the prediction")
            axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3)
        return to_svg(figure, "Learning curve per number of updates")


def arms(run: Run) -> str:
    """Effect of each hyperparameter arm with its interval."""
    with mpl.rc_context(SETTINGS):
        order = sorted(run.arms, key=lambda a: (a.parameter, a.factor), reverse=True)
        figure, axes = new_figure(1, height=1.2 + 0.27 * len(order))
        for row, arm in enumerate(order):
            low, mean, high = (100 * v for v in (arm.lower, arm.mean, arm.upper))
            colour = BETTER if low > 0 else WORSE if high < 0 else "#767676"
            axes[0].plot([low, high], [row, row], color=colour, lw=2)
            axes[0].plot([mean], [row], "o", color=colour)
        names = [f"{arm.parameter.replace('_', ' ')} x{arm.factor:g}" for arm in order]
        axes[0].set_yticks(range(len(order)), names)
        axes[0].axvline(0, color="#444444", lw=1)
        axes[0].set_xlabel("decrease of the next batch's loss against the default, %")
        return to_svg(figure, "Effect of each hyperparameter arm")


def changes(run: Run) -> str:
    """Each user's difference, sorted."""
    with mpl.rc_context(SETTINGS):
        figure, axes = new_figure(len(run.changes), height=3.2)
        for axis, change in zip(axes, run.changes, strict=True):
            _waterfall(axis, change)
        return to_svg(figure, "Users helped and harmed")


def _interval(axis: Axes, row: int, method: Method) -> None:
    gain, colour = method.ndcg_vs_blend, COLOURS[method.key]
    axis.plot([100 * gain.lower, 100 * gain.upper], [row, row], color=colour, lw=3)
    axis.plot([100 * gain.mean], [row], "o", color=colour, ms=7)
    axis.annotate(
        f"{100 * gain.mean:+.0f} %",
        (100 * gain.mean, row),
        (0, 7),
        textcoords="offset points",
        ha="center",
        fontsize=9,
    )


def _waterfall(axis: Axes, change: Change) -> None:
    values = change.differences[::-1]
    colours = [BETTER if value > 0 else WORSE for value in values]
    axis.bar(range(len(values)), values, width=1.0, color=colours)
    name = "nDCG@10" if change.measure == "ndcg" else "NLL"
    axis.set_title(
        f"{name} against the {change.against}: {change.helped} better, {change.harmed} worse",
        fontsize=10,
        loc="left",
    )
    axis.set_xlabel("new users, sorted")
    axis.set_ylabel("better by")
    axis.axhline(0, color="#444444", lw=1)
