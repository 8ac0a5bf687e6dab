"""What to take away, in plain sentences, the bad news first among them."""

from __future__ import annotations

from lorabank.evaluation.report.marks import EVERYTHING, KNN
from lorabank.evaluation.report.results import Data, Summary, Versus
from lorabank.evaluation.report.words import nats, share
from lorabank.evaluation.sources.table import in_words

NO_HELP = "The bank does not help on your data"


def findings(
    data: Data,
    methods: dict[str, Summary],
    versus: dict[tuple[str, str], Versus],
    best: str,
) -> tuple[str, ...]:
    """Each as one or two sentences."""
    ours = methods.get(EVERYTHING)
    return (
        *_verdict(ours, methods, versus, best),
        _ranking(methods),
        *_harm(ours),
        *_reading(data),
    )


def _verdict(
    ours: Summary | None,
    methods: dict[str, Summary],
    versus: dict[tuple[str, str], Versus],
    best: str,
) -> list[str]:
    if ours is None:
        return ["No method with a bank was run."]
    free = [m for m in methods.values() if not m.bank]
    strongest = max(free, key=lambda m: m.ndcg.mean)
    ranking, likely = versus[EVERYTHING, strongest.key], versus[EVERYTHING, best]
    ranks = f"{share(ranking.ndcg)} nDCG@10 against {strongest.name.strip()}"
    likelihood = f"NLL {nats(likely.nll)} against {methods[best].name.strip()}"
    said = f"{ranks}, the best ranking without a bank; {likelihood}, the most likely one."
    better = [ranking.ndcg.lower > 0, likely.nll.upper < 0]
    if all(better):
        return [f"The bank helps on your data: {said}"]
    if any(better):
        which = "ranks better" if better[0] else "is better calibrated"
        return [f"The bank helps in part: it {which}, and no more than that is proved. {said}"]
    return [f"{NO_HELP}: {said}"]


def _ranking(methods: dict[str, Summary]) -> str:
    best = max(methods.values(), key=lambda m: m.ndcg.mean)
    knn = [methods[key] for key in KNN if key in methods and not methods[key].bank]
    text = f"The best ranking of all is {best.name.strip()}: nDCG@10 {best.ndcg.mean:.4f}, "
    text += f"{share(best.ndcg_vs_blend)} against the best frozen blend."
    strongest = max(knn, key=lambda m: m.ndcg.mean, default=None)
    if strongest and strongest is not best:
        text += f" Item-kNN by itself: {share(strongest.ndcg_vs_blend)}."
    return text


def _harm(ours: Summary | None) -> list[str]:
    if ours is None or not ours.harm_nll.tested:
        return []
    harm, ranks = ours.harm_nll, ours.harm_ndcg
    return [
        f"Of {harm.tested} users, {100 * harm.share:.1f} % are significantly worse off by NLL than "
        f"with the most likely blend (chance alone: 5 %), by {harm.mean:.3f} nats per event; by "
        f"nDCG@10 {100 * ranks.share:.1f} %."
    ]


def _reading(data: Data) -> list[str]:
    lost = sum(data.skipped.values())
    said = []
    if lost:
        said.append(f"{lost:,} of {data.rows:,} rows were left out: {in_words(data.skipped)}.")
    if data.repeated:
        said.append(
            f"{data.repeated:,} rows repeat an item that the user had before: what is predicted is "
            "what is new to a user."
        )
    if data.items_skipped:
        said.append(f"Of the catalogue: {in_words(data.items_skipped)}.")
    if data.rated and data.likes == data.used_rows:
        said.append("The log has ratings, and every row counted as a like: see --like.")
    if data.sampled < 1:
        said.append(
            f"The log is large: {100 * data.sampled:.3g} % of its users were drawn at random, "
            f"{data.used_rows:,} rows."
        )
    return said
