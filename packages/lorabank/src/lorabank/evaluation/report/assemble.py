"""Putting a report together."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from importlib.metadata import version
from itertools import product

from lorabank.evaluation.machine import this_machine
from lorabank.evaluation.report.findings import findings
from lorabank.evaluation.report.marks import EVERYTHING, marks
from lorabank.evaluation.report.pooling import Pool
from lorabank.evaluation.report.results import Data, Report, Seed
from lorabank.evaluation.report.summaries import best_single, curve, summarise, versus
from lorabank.evaluation.running import Run
from lorabank.evaluation.settings import EvaluateSettings
from lorabank.evaluation.sources.table import Dataset

PAIRS = (
    ("skills", "random_groups"),
    ("skills", "shared"),
    ("hints", "user_default"),
    ("random_hints", "user_default"),
    ("residuals", "shared"),
    ("shuffled_bank", "shared"),
    ("shuffled_bank", "skills"),
    ("random_hints", "user_sgd"),
    ("random_hints", "shared"),
)


def assemble(
    dataset: Dataset, settings: EvaluateSettings, runs: Sequence[Run], command: str
) -> Report:
    """All numbers of all seeds."""
    pool = Pool(runs, settings.resamples, settings.horizon)
    best = pool.best_bank_free()
    methods = {key: summarise(pool, key, best) for key in pool.keys}
    pairs = [*product((EVERYTHING,), pool.keys), *PAIRS]
    compared = {
        pair: versus(pool, *pair)
        for pair in pairs
        if pair[0] in methods and pair[1] in methods and pair[0] != pair[1]
    }
    data = _data(dataset)
    bounds = [run.bound for run in runs if run.bound is not None]
    excess = max((bound.largest for bound in bounds), default=None)
    allowed = bounds[0].allowed if bounds else None
    single = best_single(pool, EVERYTHING)
    drift = tuple(d for run in runs[:1] for d in run.drift)
    return Report(
        lorabank=version("lorabank"),
        command=command,
        machine=this_machine(),
        data=data,
        settings=dataclasses.asdict(settings),
        seeds=tuple(map(_seed, runs)),
        best_bank_free=best,
        methods=tuple(methods.values()),
        versus=tuple(compared.values()),
        curve=curve(pool),
        drift=drift,
        excess_over_identity=excess,
        excess_bound=allowed,
        best_single=single,
        marks=tuple(marks(data.name, methods, compared, drift, excess, allowed, single)),
        findings=findings(data, methods, compared, best),
    )


def _data(dataset: Dataset) -> Data:
    reading = dataset.reading
    return Data(
        name=dataset.name,
        rows=reading.rows,
        rated=reading.rated,
        skipped=dict(reading.skipped),
        repeated=reading.repeated,
        users=reading.users,
        sampled=reading.sampled,
        used_rows=len(dataset.user),
        likes=int(dataset.liked.sum()),
        items=len(dataset.vectors),
        items_skipped=dict(reading.items_skipped),
        dim=dataset.vectors.shape[1],
        clock=dataset.clock,
    )


def _seed(run: Run) -> Seed:
    split = run.split
    return Seed(
        seed=run.seed,
        users_fit=split.fit.users,
        users_choose=split.choose.users,
        users_new=split.new.users,
        users_left_out=split.left_out,
        likes_fit=int(split.fit.liked.sum()),
        events_new=len(run.view),
        cut=split.cut,
        seconds=run.seconds,
    )
