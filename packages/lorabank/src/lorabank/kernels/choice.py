"""Choosing a kernel by name: entry points of the group ``lorabank.kernels``.

An entry point names a function without arguments that returns a `Kernel`, or raises ImportError
with the reason why it can't. Reading entry points takes milliseconds of disk access: call this
from a worker thread in async code.
"""

from __future__ import annotations

from importlib.metadata import entry_points

from lorabank.errors import InvalidInputError
from lorabank.kernels.protocol import Kernel
from lorabank.kernels.reference import NUMPY
from lorabank.logs import get_logger

GROUP = "lorabank.kernels"
AUTO = "auto"

log = get_logger(__name__)


def list_kernels() -> list[str]:
    """Names that `open_kernel` knows, whether or not they can be loaded."""
    return sorted({NUMPY.name, *(point.name for point in entry_points(group=GROUP))})


def open_kernel(name: str = AUTO) -> Kernel:
    """A kernel by name; "auto" is an installed one that can be loaded, and numpy without one.

    Raises:
        InvalidInputError: no kernel of this name is installed, or it can't be loaded.
    """
    if name == NUMPY.name:
        return NUMPY
    points = {point.name: point for point in entry_points(group=GROUP)}
    if name == AUTO:
        wanted = sorted(points)
    elif name in points:
        wanted = [name]
    else:
        known = f"one of {AUTO}, {', '.join(list_kernels())}"
        raise InvalidInputError(
            "kernel", name, f"{known} ('compiled': pip install lorabank-kernels)"
        )
    for candidate in wanted:
        try:
            kernel: Kernel = points[candidate].load()()
        except ImportError as exc:
            if name != AUTO:
                raise InvalidInputError("kernel", name, f"one that can be loaded: {exc}") from exc
            log.info("a kernel can't be loaded, going on without it", kernel=candidate, reason=exc)
        else:
            return kernel
    return NUMPY
