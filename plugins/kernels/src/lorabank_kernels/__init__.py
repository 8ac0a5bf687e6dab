"""Compiled kernels of `lorabank`, for the instruction sets of the processor it runs on."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lorabank_kernels.compiled import CompiledKernel

__all__ = ["load", "variants"]


def load(variant: str | None = None) -> CompiledKernel:
    """The kernel compiled for ``variant``; None: for the best that this processor can run.

    Raises:
        ImportError: this installation has no compiled module (there was no C compiler).
        ValueError: the processor can't run the variant.
    """
    from lorabank_kernels.compiled import CompiledKernel

    return CompiledKernel(variant or variants()[0])


def variants() -> list[str]:
    """The variants that this processor can run, the fastest first.

    Raises:
        ImportError: as for `load`.
    """
    from lorabank_kernels.compiled import variants as compiled

    return compiled()
