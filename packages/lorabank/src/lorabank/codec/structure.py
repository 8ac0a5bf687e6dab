"""A walk over a msgpack body before anything is built from it.

A header may declare any size, and msgpack reserves that much room at once and at every level of
nesting: a hundred kilobytes of nested headers cost it tens of megabytes. Skipping builds nothing,
and every declared item takes at least one byte: a body that can be skipped declares no more items
than it has bytes.
"""

from __future__ import annotations

import msgpack


def check_structure(body: memoryview) -> None:
    """Nothing, if all that the body's headers declare is there.

    Raises:
        ValueError, msgpack.exceptions.UnpackException: the bytes end early, are nested too deeply,
            or are no msgpack.
    """
    unpacker = msgpack.Unpacker(max_buffer_size=max(len(body), 1))
    unpacker.feed(body)
    unpacker.skip()
