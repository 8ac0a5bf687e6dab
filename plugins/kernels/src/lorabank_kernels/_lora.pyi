from typing import Any

from numpy.typing import NDArray

Array = NDArray[Any]

def variants() -> list[str]: ...

class Kernel:
    def __init__(self, variant: str) -> None: ...
    @property
    def variant(self) -> str: ...
    def forward(self, A: Array, B: Array, scale: float, X: Array, out: Array, /) -> bool: ...
    def mse_sums(self, X: Array, T: Array, weights: Array | None, /) -> tuple[float, float]: ...
    def mse_loss(
        self, A: Array, B: Array, scale: float, X: Array, T: Array, weights: Array | None, /
    ) -> tuple[float, float]: ...
    def mse_gradient(
        self,
        A: Array,
        B: Array,
        scale: float,
        X: Array,
        T: Array,
        weights: Array | None,
        energy: float,
        dA: Array,
        dB: Array,
        /,
    ) -> tuple[float, float]: ...
    def mse_update(
        self,
        A: Array,
        B: Array,
        scale: float,
        X: Array,
        T: Array,
        weights: Array | None,
        energy: float,
        learning_rate: float,
        clip_threshold: float,
        A_out: Array,
        B_out: Array,
        /,
    ) -> tuple[float, float]: ...
    def forward_many(
        self,
        slabs: tuple[Array, ...],
        rank: int,
        slots: Array,
        scales: Array,
        rows: Array,
        X: Array,
        out: Array,
        /,
    ) -> int: ...
    def mse_update_many(
        self,
        slabs: tuple[Array, ...],
        rank: int,
        sources: Array,
        targets: Array,
        scales: Array,
        learning_rates: Array,
        clip_thresholds: Array,
        stretches: Array,
        X: Array,
        T: Array,
        weights: Array | None,
        results: Array,
        /,
    ) -> None: ...
