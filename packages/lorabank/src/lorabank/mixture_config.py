"""Settings of the mixture of experts that serves each user."""

from __future__ import annotations

from dataclasses import dataclass

from lorabank.errors import InvalidInputError
from lorabank.types.checks import check_number


@dataclass(frozen=True, slots=True)
class MixtureConfig:
    """How the experts of a population are mixed. Without a population it has no effect.

    ``share`` was chosen on past users of MovieLens, where other values of the same order made a
    difference of about 0.01 nats per event.

    Attributes:
        enabled: False leaves populations unused: each user has the adapter alone.
        identity_weight: w0; the mixture loses at most ``ln(1 / w0)`` nats in total against
            the identity, whatever happens.
        share: how much weight goes back to the prior after the first observation; later less (see
            `lorabank.numerics.mixture`). The greater, the sooner a drift is followed.
    """

    enabled: bool = True
    identity_weight: float = 0.05
    share: float = 0.05

    def __post_init__(self) -> None:
        if not isinstance(self.enabled, bool):
            raise InvalidInputError("mixture.enabled", self.enabled, "True or False")
        check_number(self.identity_weight, "mixture.identity_weight", low=1e-6, high=0.999)
        check_number(self.share, "mixture.share", low=1e-6, high=1.0)
