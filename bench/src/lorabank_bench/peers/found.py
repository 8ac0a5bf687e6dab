"""Which peers are there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

from lorabank.types.feedback import Feedback
from lorabank_bench.measuring import Case


class Peer(Protocol):
    """One library."""

    def forward(self, dim: int, rank: int, rows: int) -> Sequence[Case]:
        """One forward of (rows, dim)."""
        ...

    def update(self, dim: int, rank: int, feedback: Feedback) -> Sequence[Case]:
        """One step of gradient descent on a batch."""
        ...


@dataclass(frozen=True)
class Peers:
    """The installed ones, and what to do about the others."""

    installed: Sequence[Peer]
    absent: Sequence[str]

    def forward(self, dim: int, rank: int, rows: int) -> list[Case]:
        """Cases of all peers."""
        return [one for peer in self.installed for one in peer.forward(dim, rank, rows)]

    def update(self, dim: int, rank: int, feedback: Feedback) -> list[Case]:
        """Cases of all peers."""
        return [one for peer in self.installed for one in peer.update(dim, rank, feedback)]


@contextmanager
def found_peers(modules: Path) -> Iterator[Peers]:
    """Look for torch, peft, and the npm packages in ``modules``."""
    installed: list[Peer] = []
    absent: list[str] = []
    with ExitStack() as stack:
        if find_spec("torch") is None:
            absent.append("torch, peft: uv sync --group peers")
        else:
            from lorabank_bench.peers.torch_peer import TorchPeer

            installed.append(TorchPeer(with_peft=find_spec("peft") is not None))
            if find_spec("peft") is None:
                absent.append("peft: uv sync --group peers")
        for package in ("sona", "ruvllm"):
            if (modules / "@ruvector" / package).is_dir():
                from lorabank_bench.peers.node_peer import NodePeer

                installed.append(stack.enter_context(NodePeer(modules, package)))
            else:
                install = f"npm install --prefix {modules.parent} @ruvector/{package}"
                absent.append(f"@ruvector/{package}: {install}")
        yield Peers(installed, absent)
