"""FAISS on one thread."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from lorabank_faiss.native import faiss


@contextmanager
def single() -> Iterator[None]:
    """Have FAISS calls of this thread use no other threads inside the block.

    OpenMP keeps the number per calling thread, so the application's own use of FAISS in other
    threads is left as it is; this thread gets its number back at the end.
    """
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)
