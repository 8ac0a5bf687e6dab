"""A walk over msgpack headers before anything is built from them.

A header may declare any size, and msgpack reserves that much room at once and at every level of
nesting: a hundred kilobytes of nested headers cost it tens of megabytes. Records are shallow and
hold no maps, and every declared item takes at least one byte, so all of that can be refused here.
"""

from __future__ import annotations

import msgpack

from lorabank.errors import CodecError

MAX_DEPTH = 16
_ARRAY_HEADERS = frozenset([*range(0x90, 0xA0), 0xDC, 0xDD])
_MAP_HEADERS = frozenset([*range(0x80, 0x90), 0xDE, 0xDF])


def check_structure(body: memoryview) -> None:
    """Nothing, if the body is one shallow value whose declared sizes fit into it.

    Raises:
        CodecError: a map, nesting beyond `MAX_DEPTH`, or more items than there are bytes.
        ValueError, msgpack.exceptions.UnpackException: the bytes end early or are no msgpack.
    """
    unpacker = msgpack.Unpacker(max_buffer_size=max(len(body), 1))
    unpacker.feed(body)
    declared, open_arrays = 1, [1]
    while open_arrays:
        if open_arrays[-1] == 0:
            open_arrays.pop()
            continue
        open_arrays[-1] -= 1
        position = unpacker.tell()
        header = body[position] if position < len(body) else None
        if header in _MAP_HEADERS:
            raise CodecError("a map is not part of the format: the bytes are damaged")
        if header not in _ARRAY_HEADERS:
            unpacker.skip()
            continue
        size = unpacker.read_array_header()
        declared += size
        if declared > len(body) or len(open_arrays) > MAX_DEPTH:
            raise CodecError("more items or levels than a record can have: the bytes are damaged")
        open_arrays.append(size)
