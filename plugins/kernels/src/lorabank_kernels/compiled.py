"""The extension module as a `lorabank.kernels.Kernel`; not importable where it was not built."""

from __future__ import annotations

from typing import Any

try:
    from lorabank_kernels._lora import Kernel, variants
except ImportError as exc:
    raise ImportError(
        f"the compiled part of lorabank-kernels can't be loaded ({exc}): "
        "install a wheel made for this platform, or build with gcc or clang"
    ) from exc

__all__ = ["CompiledKernel", "variants"]


class CompiledKernel(Kernel):
    """See `lorabank.kernels.Kernel`. Has no state; safe to use from many threads."""

    __slots__ = ()

    @property
    def name(self) -> str:
        """ "compiled" and the instruction set."""
        return f"compiled ({self.variant})"

    def __reduce__(self) -> tuple[Any, ...]:
        """Elsewhere it is whatever is best there."""
        from lorabank_kernels import load

        return load, ()
