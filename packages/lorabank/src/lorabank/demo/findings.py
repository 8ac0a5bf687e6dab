"""The numbers in plain sentences, those that personalisation loses included."""

from __future__ import annotations

from collections.abc import Sequence

from lorabank.demo.results import Change, Method, Run
from lorabank.evaluation.report.words import nats, percent, share

# The mark that the project set itself.
MARK = 0.20


def findings(runs: Sequence[Run]) -> list[str]:
    """What to take away, each as one or two sentences. The first run's, beside the mark."""
    run = runs[0]
    return [
        _mark(runs),
        _without_bank(run),
        _online(run),
        *(_change(change) for change in run.changes),
        _arms(run),
        _episodes(run),
    ]


def _mark(runs: Sequence[Run]) -> str:
    gains = [run.method("with_bank").ndcg_vs_blend for run in runs]
    mean, lowest = sum(g.mean for g in gains) / len(gains), min(g.lower for g in gains)
    reached = mean >= MARK and lowest > 0
    what = f"{percent(mean)} nDCG@10 over the tuned frozen blend"
    seeds = "" if len(runs) == 1 else f", mean of {len(runs)} seeds"
    verdict = "The mark is reached" if reached else "The mark is NOT reached"
    return (
        f"{verdict}: with the bank, new users get {what}{seeds}; lowest lower bound "
        f"{percent(lowest)} (mark: {percent(MARK)}, lower bound above zero)."
    )


def _without_bank(run: Run) -> str:
    method = run.method("without_bank")
    return (
        f"Without the bank, learning from zero {_verdict(method)}: {share(method.ndcg_vs_blend)} "
        f"nDCG@10 against the blend, NLL {nats(method.nll_vs_frozen)} against the frozen "
        "embeddings that it started as."
    )


def _verdict(method: Method) -> str:
    if method.ndcg_vs_blend.lower > 0:
        return "helps"
    if method.ndcg_vs_blend.upper < 0:
        return "does not help, and ranks worse than the tuned blend"
    return "does not help"


def _online(run: Run) -> str:
    if not run.skills.with_weights:
        return (
            "Consolidation could not prove a gain on held-out past users, so no weights were "
            "passed on: new users with the bank start as those without. More users would help."
        )
    online = run.online
    if online.nll.upper < 0:
        verdict = "helps a little"
    elif online.nll.lower > 0:
        verdict = "harms"
    else:
        verdict = "makes no difference that can be told from chance"
    return (
        f"Online learning on top of the bank's start {verdict}: {share(online.ndcg, 1)} nDCG@10, "
        f"NLL {nats(online.nll)}. Nearly all of the gain is in the weights that users start from."
    )


def _change(change: Change) -> str:
    what = "nDCG@10" if change.measure == "ndcg" else "NLL"
    total = change.helped + change.harmed + change.unchanged
    return (
        f"By {what} against the {change.against}, {change.helped} of {total} new users are better "
        f"off (by {change.helped_mean:.3f} on average), {change.harmed} worse off (by "
        f"{-change.harmed_mean:.3f}; the worst by {-min(change.worst, 0.0):.3f}), "
        f"{change.unchanged} the same."
    )


def _arms(run: Run) -> str:
    better = [arm for arm in run.arms if arm.lower > 0]
    if not run.arms:
        return "Too few shadow trials to say anything about hyperparameters."
    if not better:
        return (
            f"Of {len(run.arms)} hyperparameter arms none beats the default by its lower bound: "
            "at the end of the run the bank gives no hint."
        )
    names = ", ".join(f"{arm.parameter} x{arm.factor:g}" for arm in better)
    return f"Arms that beat the default by their lower bound: {names}."


def _episodes(run: Run) -> str:
    e = run.episodes
    return (
        f"Of {e.made} episodes the bank holds {e.held}; {e.dead} were refused, "
        f"{e.undelivered} not delivered, {e.lost} lost."
    )
