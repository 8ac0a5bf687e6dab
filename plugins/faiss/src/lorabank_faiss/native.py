"""FAISS without its type stubs, which don't know what its Python layer adds."""

from __future__ import annotations

from typing import Any

import faiss as _faiss

faiss: Any = _faiss
