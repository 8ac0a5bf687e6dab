"""torch and peft on the CPU, one thread: the same map, loss, clipping and step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from lorabank.types.feedback import Feedback
from lorabank_bench.measuring import Case, case

LEARNING_RATE, CLIP = 0.3, 1.0


class TorchPeer:
    """Autograd with plain SGD; peft as a LoRA layer around an identity ``Linear``."""

    def __init__(self, *, with_peft: bool) -> None:
        torch.set_num_threads(1)
        self._with_peft = with_peft

    def forward(self, dim: int, rank: int, rows: int) -> Sequence[Case]:
        """See `Peer.forward`."""
        A, B = _matrices(dim, rank)
        x = torch.randn(rows, dim)

        def plain() -> None:
            with torch.no_grad():
                x + (x @ A.T) @ B.T

        cases = [case("torch", plain)]
        if self._with_peft:
            layer = _peft_layer(dim, rank)

            def wrapped() -> None:
                with torch.no_grad():
                    layer(x)

            cases.append(case("peft", wrapped))
        return cases

    def update(self, dim: int, rank: int, feedback: Feedback) -> Sequence[Case]:
        """See `Peer.update`."""
        A, B = (matrix.requires_grad_() for matrix in _matrices(dim, rank))
        cases = [case("torch", _step(lambda x: x + (x @ A.T) @ B.T, [A, B], feedback))]
        if self._with_peft:
            layer = _peft_layer(dim, rank)
            weights = [weight for weight in layer.parameters() if weight.requires_grad]
            cases.append(case("peft", _step(layer, weights, feedback)))
        return cases


def _matrices(dim: int, rank: int) -> tuple[Any, Any]:
    return torch.randn(rank, dim) / dim**0.5, 0.01 * torch.randn(dim, rank)


def _step(model: Any, weights: list[Any], feedback: Feedback) -> Any:
    assert feedback.target is not None
    x, target = (torch.from_numpy(np.array(rows)) for rows in (feedback.x, feedback.target))
    energy = (x**2).sum()
    optimizer = torch.optim.SGD(weights, lr=LEARNING_RATE)

    def step() -> None:
        optimizer.zero_grad()
        loss = ((model(x) - target) ** 2).sum() / energy
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, CLIP)
        optimizer.step()

    return step


def _peft_layer(dim: int, rank: int) -> Any:
    from peft import LoraConfig, get_peft_model

    class Identity(torch.nn.Module):  # type: ignore[misc, unused-ignore]  # not installed by default
        def __init__(self) -> None:
            super().__init__()
            self.line = torch.nn.Linear(dim, dim, bias=False)
            torch.nn.init.eye_(self.line.weight)

        def forward(self, x: Any) -> Any:
            return self.line(x)

    config = LoraConfig(r=rank, lora_alpha=rank, target_modules=["line"])
    return get_peft_model(Identity(), config)
