"""The approximate index: an inverted file of 4-bit codes proposes, 8-bit codes choose.

``coarse`` (IVF, product-quantised, FAISS "fast scan") finds some hundred candidates quickly;
``codes`` (8-bit scalar quantiser, rows in order) brings them down to a few, and also serves
filters that leave few rows: then it is scanned for those rows alone, missing none. Exact scores of
the last few come from the database. Measured against others in docs/faiss.md.

Nothing here takes locks or sets threads: see `shard` and `threads`.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from lorabank.types.arrays import FloatArray, IntArray
from lorabank_faiss.codes import Codes
from lorabank_faiss.native import faiss
from lorabank_faiss.rows import Selected

_SAMPLES_PER_LIST = 64
_LEAST_SAMPLE = 64
_PROBES = 168  # lists looked into, of up to
_PROBED_LISTS = 512  # so many; of more lists, a share that falls with the root of their number
_LEAST_ROWS = 34_000  # but so many that they hold about this many rows: there are steps in between
_BREADTH = 5  # candidates of ``coarse`` per one that is wanted of ``codes``
_SCANNED_SHARE = 0.06  # filters that leave less than this are served by ``codes`` alone
_GATHERED_SHARE = 0.05  # and less than this by looking up just those rows
_SCANNED_ROWS = 20_000
_ONE_QUERY = 10  # FAISS's way of scanning lists that is fastest for a single query
_WIDEST = 2_000  # more than this is found by ``codes`` alone, too


class Found(NamedTuple):
    """Row numbers int64 (n,) and near-cosines float32 (n,), best first."""

    rows: IntArray
    scores: FloatArray


def sample_size(count: int) -> int:
    """How many vectors training for ``count`` rows wants."""
    return _SAMPLES_PER_LIST * _lists(count)


class Approximate:
    """Rows 0, 1, 2, ... by near-cosine. Vectors are float32 (n, dim) of length one."""

    def __init__(self, coarse: Any, codes: Any, trained_for: int) -> None:
        self.coarse, self.codes, self.trained_for = coarse, codes, trained_for
        if hasattr(coarse, "implem"):
            coarse.implem = _ONE_QUERY
        self._refined = faiss.IndexRefine(coarse, codes)
        self._codes = Codes(codes)
        self._unfiltered = self._parameters(Selected(None, 0), 1.0)
        self._filtered: tuple[Selected, Any] | None = None  # those of the last filter

    def __len__(self) -> int:
        return int(self.codes.ntotal)

    @classmethod
    def train(cls, sample: FloatArray, count: int) -> Approximate:
        """An empty index for about ``count`` rows like those of ``sample`` (n, dim)."""
        if len(sample) < _LEAST_SAMPLE:  # FAISS wants more vectors than it makes clusters
            sample = np.resize(sample, (_LEAST_SAMPLE, sample.shape[1]))
        dim = sample.shape[1]
        lists = max(1, min(_lists(count), len(sample) // 8))
        coarse = faiss.index_factory(dim, f"IVF{lists},{_code(dim)}", faiss.METRIC_INNER_PRODUCT)
        coarse.cp.spherical = True
        coarse.cp.min_points_per_centroid = 1  # no warnings on standard error
        if hasattr(coarse, "pq"):
            coarse.pq.cp.min_points_per_centroid = 1
        coarse.train(sample)
        codes = faiss.IndexScalarQuantizer(
            dim, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT
        )
        codes.train(sample)
        return cls(coarse, codes, count)

    def add(self, units: FloatArray) -> None:
        """Add rows behind those that are here."""
        units = np.ascontiguousarray(units, np.float32)
        self._refined.add(units)
        self._unfiltered = self._parameters(Selected(None, 0), 1.0)
        self._filtered = None

    def search(self, query: FloatArray, size: int, selected: Selected) -> Found:
        """At least ``size`` of the selected rows; fewer only if fewer are selected.

        Args:
            query: float32 (dim,) of length one.
            size: how many; >= 1.
            selected: among the rows of this index.
        """
        share = selected.passed / max(1, len(self))
        few = selected.passed <= max(_SCANNED_ROWS, _SCANNED_SHARE * len(self))
        if size > _WIDEST or (selected.mask is not None and few):
            return self._scan(query, size, selected)
        found = self._propose(query, size, selected, share)
        if len(found.rows) < min(size, selected.passed):
            return self._scan(query, size, selected)
        return found

    def _propose(self, query: FloatArray, size: int, selected: Selected, share: float) -> Found:
        how = self._unfiltered if selected.mask is None else self._of_filter(selected, share)
        scores, rows = self._refined.search(query[None], _BREADTH * size, params=how)
        found = int(np.count_nonzero(rows[0] >= 0))  # what is missing is at the end
        return Found(rows[0, :found], scores[0, :found])

    def _of_filter(self, selected: Selected, share: float) -> Any:
        """Its parameters; kept, as filters come again and making them takes 16 us."""
        kept = self._filtered
        if kept is None or kept[0] is not selected:
            self._filtered = kept = selected, self._parameters(selected, share)
        return kept[1]

    def _parameters(self, selected: Selected, share: float) -> Any:
        probes = _probes(self.coarse.nlist, len(self), share)
        how = faiss.SearchParametersIVF(nprobe=probes, sel=_selector(selected))
        return faiss.IndexRefineSearchParameters(k_factor=1.0, base_index_params=how)

    def _nearest_of(self, rows: IntArray, query: FloatArray, size: int) -> Found:
        scores = self._codes.products(rows, query)
        if size < len(rows):
            best = np.argpartition(scores, len(rows) - size)[-size:]
            rows, scores = rows[best], scores[best]
        order = np.argsort(-scores, kind="stable")
        return Found(rows[order], scores[order])

    def _scan(self, query: FloatArray, size: int, selected: Selected) -> Found:
        size = min(size, selected.passed)
        if not size:
            return Found(np.empty(0, np.int64), np.empty(0, np.float32))
        if selected.mask is not None and selected.passed <= _GATHERED_SHARE * len(self):
            return self._nearest_of(np.flatnonzero(selected.mask), query, size)
        how = faiss.SearchParameters(sel=_selector(selected))
        scores, rows = self.codes.search(query[None], size, params=how)
        return Found(rows[0], scores[0])


def _selector(selected: Selected) -> Any:
    if selected.mask is None:
        return None
    return faiss.IDSelectorBitmap(np.packbits(selected.mask, bitorder="little"))


def _probes(lists: int, rows: int, share: float) -> int:
    """How many lists to look into, where so large a share of the rows is selected."""
    wanted = _PROBES * min(1.0, math.sqrt(_PROBED_LISTS / lists))
    return min(lists, int(max(wanted, lists * _LEAST_ROWS / max(1, rows)) / max(share, 1e-9)))


def _lists(count: int) -> int:
    """About 1.4 sqrt(count), a power of two: 128 for 10,000, 1024 for a million."""
    return int(2 ** round(np.log2(1.4 * np.sqrt(max(1, count)))))


def _code(dim: int) -> str:
    """4-bit product codes of 4 (or 2, 3, 5, 6, 8) components each; 8 bits each for odd dims."""
    for part in (4, 5, 3, 6, 2, 8):
        if dim % part == 0 and dim >= 2 * part:
            return f"PQ{dim // part}x4fs"
    return "SQ8"
