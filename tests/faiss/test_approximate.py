"""The approximate index on text: recall, and filters that starve nobody."""

from __future__ import annotations

import numpy as np
import pytest

from lorabank.types.arrays import FloatArray
from lorabank.types.query import EVERYTHING, PatternFilter
from lorabank_bench.faiss_backend.texts import bank_and_queries
from lorabank_faiss.approximate import Approximate, _probes
from lorabank_faiss.codes import Codes
from lorabank_faiss.contents import Contents
from lorabank_faiss.rows import Selected
from lorabank_faiss.threads import single
from lorabank_faiss.vectors import exact_scores

COUNT, QUERIES, DIM, K = 30_000, 50, 256, 5
RARE = 7


@pytest.fixture(scope="module")
def text() -> tuple[FloatArray, FloatArray]:
    return bank_and_queries(COUNT, QUERIES, DIM)


@pytest.fixture(scope="module")
def contents(text: tuple[FloatArray, FloatArray]) -> Contents:
    """All but the last hundred are in the index; every 50th succeeded, `RARE` are of one user."""
    rows, _ = text
    built = Contents(DIM)
    columns = [
        (1 if n % (COUNT // RARE) == 5 else 0, float(n), 0.5, n % 50 == 0, 0, 4, n % 2)
        for n in range(COUNT)
    ]
    with single():
        built.main = Approximate.train(rows[:8000], COUNT)
        built.append(range(COUNT), [1] * COUNT, columns, rows)
        built.merge(COUNT - 100)
    return built


@pytest.mark.parametrize(
    ("where", "passing"),
    [
        (EVERYTHING, np.ones(COUNT, bool)),
        (PatternFilter(success=True), np.arange(COUNT) % 50 == 0),
        (PatternFilter(has_trial=True), np.arange(COUNT) % 2 == 1),
        (PatternFilter(since=COUNT - 50.0), np.arange(COUNT) >= COUNT - 50),
        (PatternFilter(until=3.0), np.arange(COUNT) < 3),
    ],
)
def test_recall(
    text: tuple[FloatArray, FloatArray],
    contents: Contents,
    where: PatternFilter,
    passing: np.ndarray[tuple[int], np.dtype[np.bool_]],
) -> None:
    rows, queries = text
    hits = wanted = 0
    for query in queries.astype(np.float64):
        scores = np.where(passing, exact_scores(rows, query), -2.0)
        best = min(K, int(passing.sum()))
        least = np.sort(scores)[-best]
        with single():
            found = contents.nearest(query, K, where, lambda keys: rows[keys])
        assert len(found.keys) >= best
        assert passing[found.keys].all()
        np.testing.assert_array_equal(found.scores, scores[found.keys])
        hits += int((np.sort(found.scores)[-best:] >= least).sum())
        wanted += best
    assert hits / wanted >= 0.95


def test_more_than_the_index_would_propose(
    text: tuple[FloatArray, FloatArray], contents: Contents
) -> None:
    rows, queries = text
    with single():
        found = contents.nearest(
            queries[0].astype(np.float64), 5000, EVERYTHING, lambda keys: rows[keys]
        )
    assert len(found.keys) >= 5000
    assert len(set(found.keys.tolist())) == len(found.keys)


@pytest.mark.parametrize(
    ("lists", "rows", "share", "probes"),
    [
        (128, 12_000, 1.0, 128),
        (256, 40_000, 1.0, 217),  # at least 34,000 rows
        (512, 68_000, 1.0, 256),
        (512, 200_000, 1.0, 168),
        (1024, 1_000_000, 1.0, 118),
        (1024, 1_000_000, 0.5, 237),  # more lists, the fewer pass
        (512, 0, 1.0, 512),
    ],
)
def test_how_many_lists_are_looked_into(lists: int, rows: int, share: float, probes: int) -> None:
    assert _probes(lists, rows, share) == probes


def test_codes_are_multiplied_as_faiss_decodes_them(
    text: tuple[FloatArray, FloatArray], contents: Contents
) -> None:
    rows, (query, *_) = np.arange(3, COUNT - 100, 20), text[1]
    assert contents.main is not None
    decoded = contents.main.codes.reconstruct_batch(rows)
    found = Codes(contents.main.codes).products(rows, query)
    np.testing.assert_allclose(found, decoded @ query, atol=1e-6)


def test_a_filter_is_remembered_until_rows_are_added(text: tuple[FloatArray, FloatArray]) -> None:
    rows, (query, *_) = text
    even, odd = (Selected(np.arange(COUNT) % 2 == part, COUNT // 2) for part in (0, 1))
    with single():
        index = Approximate.train(rows[:8000], COUNT)
        index.add(rows)
        for selected in (even, odd, odd, even):
            assert selected.mask is not None
            assert selected.mask[index.search(query, 15, selected).rows].all()
        index.add(query[None])
        longer = Selected(np.append(np.zeros(COUNT, bool), True), 1)
        assert index.search(query, 1, longer).rows.tolist() == [COUNT]
