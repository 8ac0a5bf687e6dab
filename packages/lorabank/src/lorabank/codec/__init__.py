"""Bytes for adapters, patterns and skills: msgpack with a version, a kind and a checksum.

Data only: nothing is imported or executed on load. The layout of a message is::

    4 bytes "LoRA" | 1 byte format version | 1 byte kind | 4 bytes CRC-32 of what follows
    1 byte size of the record, or 255 and 4 bytes | record | arrays

The record is the msgpack array of the dataclass's fields in order, nested likewise, without Nones
at the end that are the fields' defaults. Small whole floats are written as integers, and choices as
their places. Arrays are the only extensions: their numbers lie after the record, aligned
(`lorabank.codec.arrays`).
"""

from lorabank.codec.envelope import FORMAT_VERSION, decode, encode

__all__ = ["FORMAT_VERSION", "decode", "encode"]
