"""The embedding space that a bank, an engine and an adapter agree on."""

from __future__ import annotations

from dataclasses import dataclass

from lorabank.types.checks import check_choice, check_count, check_text


@dataclass(frozen=True, slots=True)
class EmbeddingSpace:
    """Which encoder made the vectors: vectors of different spaces must never be compared.

    Attributes:
        name: the encoder's name, such as ``"wordllama-256"``.
        dim: number of components of each vector.
        normalised: whether every vector has unit length.
    """

    name: str
    dim: int
    normalised: bool = False

    def __post_init__(self) -> None:
        check_text(self.name, "space.name")
        check_count(self.dim, "space.dim", low=1)
        check_choice(self.normalised, "space.normalised", (False, True))

    def __str__(self) -> str:
        return f"{self.name} (dim {self.dim}{', normalised' if self.normalised else ''})"
