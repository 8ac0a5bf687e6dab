"""Of what a user had more than once, the first time alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lorabank.evaluation.sources.table import Codes, Dataset
from lorabank.types.arrays import AnyFloatArray, IntArray


def without_repeats(dataset: Dataset) -> Dataset:
    """The first row of every user with every item; the others are counted in the account.

    What a user has had is no longer on offer. Were its next time predicted nevertheless, it would
    be the one such item on offer, and whatever likes what was there before would find it.
    """
    first = first_rows(dataset.user, dataset.item, dataset.time)
    repeated = len(dataset.user) - len(first)
    if not repeated:
        return dataset
    dataset.reading.repeated += repeated
    first.sort()
    return replace(
        dataset,
        user=dataset.user[first],
        item=dataset.item[first],
        liked=dataset.liked[first],
        time=dataset.time[first],
    )


def first_rows(user: Codes | IntArray, item: Codes | IntArray, time: AnyFloatArray) -> IntArray:
    """Positions of the earliest row of every (user, item); of equally early ones the first."""
    order = np.lexsort((time, item, user))
    u, i = user[order], item[order]
    new = np.ones(len(order), np.bool_)
    new[1:] = (u[1:] != u[:-1]) | (i[1:] != i[:-1])
    found: IntArray = order[new]
    return found
