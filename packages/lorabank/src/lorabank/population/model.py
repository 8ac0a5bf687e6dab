"""What is learned from everyone and shared: a frozen value that travels as bytes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

from lorabank.adapter import lora_scale
from lorabank.codec import decode, encode
from lorabank.errors import InvalidInputError
from lorabank.numerics.lora import Matrices
from lorabank.population.neighbours import ItemToItem
from lorabank.population.residuals import Residuals
from lorabank.population.transitions import Transitions
from lorabank.types.checks import (
    check_choice,
    check_count,
    check_number,
    check_positive,
    check_text,
)
from lorabank.types.skill import SCALINGS
from lorabank.types.space import EmbeddingSpace
from lorabank.types.weights import Weights

KIND = "population"
IDENTITY = "identity"
POPULARITY = "popularity"
SHARED = "shared"
SHARED_RESIDUALS = "shared+residuals"
NEIGHBOURS = "neighbours"
BESIDE, TRANSITIONS = "+neighbours", "+transitions"
GROUP_PREFIX = "group:"


@dataclass(frozen=True, slots=True, eq=False)
class SharedAdapter:
    """A LoRA adapter trained on many users.

    Attributes:
        name: "shared", or "group:<id of the group>".
        weights: A (rank, dim) and B (dim, rank).
        alpha, scaling: as in `Adapter`.
        user_keys: of the users whose feedback is in it.
    """

    name: str
    weights: Weights
    alpha: float
    scaling: str
    user_keys: tuple[str, ...]

    def __post_init__(self) -> None:
        check_text(self.name, "adapter.name")
        check_positive(self.alpha, "adapter.alpha")
        check_choice(self.scaling, "adapter.scaling", SCALINGS)
        for key in self.user_keys:
            check_text(key, "adapter.user_keys")

    @property
    def matrices(self) -> Matrices:
        """A, B and the scale, for `lorabank.numerics.lora.forward`."""
        scale = lora_scale(self.alpha, self.weights.rank, self.scaling)
        return Matrices(self.weights.A, self.weights.B, scale)


@dataclass(frozen=True, slots=True)
class Expert:
    """One calibrated way to predict the next item: a log-linear model.

    With y the output of the adapter (y = x without one), the logit of item j is::

        tau * <y, e_j + v_j> + bias_weight * b_j + prior_weight * log_prior_j
            + neighbour_weight * log1p(s_j) + transition_weight * <c, e_j + v_j>

    Attributes:
        name: unique; "identity", "popularity", "shared", "shared+residuals", "neighbours",
            "shared+neighbours", "shared+residuals+neighbours", the latter two or "shared" or
            "shared+residuals" with "+transitions", or "group:<id>".
        adapter: name of the `SharedAdapter`, or None for the identity.
        residuals: whether v and b are in it (else both are zero).
        tau, bias_weight, prior_weight, neighbour_weight, transition_weight: fitted on held-out
            users.
        gain: decrease of the mean NLL against the identity on other held-out users, in nats per
            event, each user counting the same.
        trust: what a mixture's weights start in proportion to, in [1e-9, 1e6]: the share of these
            users whom it predicts best (`lorabank.population.trust.user_shares`). Populations of
            before there was any have one for each: all are trusted alike.
    """

    name: str
    adapter: str | None
    residuals: bool
    tau: float
    prior_weight: float
    bias_weight: float = 0.0
    neighbour_weight: float = 0.0
    gain: float = 0.0
    transition_weight: float = 0.0
    trust: float = 1.0

    def __post_init__(self) -> None:
        check_text(self.name, "expert.name")
        for field in ("tau", "neighbour_weight", "transition_weight"):
            check_number(getattr(self, field), f"expert.{field}", low=0.0)
        for field in ("prior_weight", "bias_weight", "gain"):
            check_number(getattr(self, field), f"expert.{field}", low=-1e6, high=1e6)
        # Bounded on both sides, so that no share of a sum is zero, nor the sum infinite.
        check_number(self.trust, "expert.trust", low=1e-9, high=1e6)


@dataclass(frozen=True, eq=False)
class Population:
    """Everything shared, with the experts made of it. Immutable.

    It fits one space and one pool of items (positions are positions in that pool).

    Attributes:
        space: of contexts and items.
        items: number of items in the pool.
        adapters: the shared one and those of groups that were kept.
        residuals: of the items, or None.
        neighbours: item to item, or None.
        experts: calibrated; the identity is the first.
        user_keys: of all users whose feedback is in any of it: once one of them is forgotten, it
            has to be made again.
        transitions: from item to item, or None.
        tilt: rankings add so many times ``log(1 + s)`` of ``lean`` to log probabilities, >= 0.
            Chosen on held-out users by nDCG@10, with the form of the table; no probability has it.
        lean: item to item for rankings alone, or None.
    """

    space: EmbeddingSpace
    items: int
    adapters: tuple[SharedAdapter, ...]
    residuals: Residuals | None
    neighbours: ItemToItem | None
    experts: tuple[Expert, ...]
    user_keys: tuple[str, ...]
    transitions: Transitions | None = None
    tilt: float = 0.0
    lean: ItemToItem | None = None

    def __post_init__(self) -> None:
        check_count(self.items, "population.items", low=2)
        self._check_shapes()
        adapters = [adapter.name for adapter in self.adapters]
        names = [expert.name for expert in self.experts]
        for found in (adapters, names):
            if len(set(found)) != len(found):
                raise InvalidInputError("population", found, "distinct names")
        if not names or names[0] != IDENTITY:
            raise InvalidInputError("population.experts", names, "the identity first")
        self._check_parts(adapters)

    def _check_parts(self, adapters: list[str]) -> None:
        """What experts and rankings are made of is there."""
        for expert in self.experts:
            if expert.adapter is not None:
                check_choice(expert.adapter, "expert.adapter", adapters)
            if expert.residuals and self.residuals is None:
                raise InvalidInputError("expert.residuals", True, "a table of residuals")
            if expert.neighbour_weight and self.neighbours is None:
                raise InvalidInputError("expert.neighbour_weight", expert.name, "a table")
            if expert.transition_weight and self.transitions is None:
                raise InvalidInputError("expert.transition_weight", expert.name, "transitions")
        check_number(self.tilt, "population.tilt", low=0.0)

    def _check_shapes(self) -> None:
        dims = [adapter.weights.dim for adapter in self.adapters]
        if self.residuals is not None:
            dims.append(self.residuals.vectors.shape[1])
            if self.residuals.items[-1] >= self.items:
                raise InvalidInputError("residuals.items", "beyond the pool", f"< {self.items}")
        if self.transitions is not None:
            dims.append(self.transitions.vectors.shape[1])
            if self.transitions.items[-1] >= self.items:
                raise InvalidInputError("transitions.items", "beyond the pool", f"< {self.items}")
        if any(dim != self.space.dim for dim in dims):
            raise InvalidInputError("population", dims, f"dimension {self.space.dim}")
        for name, table in (("neighbours", self.neighbours), ("lean", self.lean)):
            if table is not None and len(table) != self.items:
                raise InvalidInputError(name, len(table), f"{self.items} rows")

    @property
    def names(self) -> tuple[str, ...]:
        """Of the experts, in order."""
        return tuple(expert.name for expert in self.experts)

    def expert(self, name: str) -> Expert:
        """The expert of that name.

        Raises:
            InvalidInputError: there is none.
        """
        check_choice(name, "expert", self.names)
        return self.experts[self.names.index(name)]

    def adapter(self, name: str) -> SharedAdapter:
        """The adapter of that name.

        Raises:
            InvalidInputError: there is none.
        """
        names = [adapter.name for adapter in self.adapters]
        check_choice(name, "adapter", names)
        return self.adapters[names.index(name)]

    @cached_property
    def id(self) -> str:
        """Hash of the content, 32 hexadecimal digits: equal populations have equal ids."""
        return hashlib.blake2b(self.to_bytes(), digest_size=16).hexdigest()

    def to_bytes(self) -> bytes:
        """For `from_bytes`, here or elsewhere."""
        return encode(self, KIND)

    @classmethod
    def from_bytes(cls, data: bytes | bytearray | memoryview) -> Population:
        """What `to_bytes` was called on.

        Raises:
            CodecError: not such bytes, an unknown version, damaged, or impossible values.
        """
        return decode(cls, KIND, data)
