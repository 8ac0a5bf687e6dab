"""npm packages, each in a Node.js process that times its own loops when it is told to."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from lorabank.types.feedback import Feedback
from lorabank_bench.measuring import Case

SCRIPT = Path(__file__).with_name("loops.cjs")


class NodePeer:
    """``package`` is "sona" or "ruvllm". Use it in a ``with`` block."""

    def __init__(self, modules: Path, package: str) -> None:
        self._modules = modules
        self._package = package

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            ["node", str(SCRIPT), str(self._modules.absolute()), self._package],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()

    def forward(self, dim: int, rank: int, rows: int) -> Sequence[Case]:
        """See `Peer.forward`."""
        return [self._case("forward", dim, rank, rows)]

    def update(self, dim: int, rank: int, feedback: Feedback) -> Sequence[Case]:
        """See `Peer.update`. sona learns in the background, not by such a step."""
        if self._package == "sona":
            return []
        return [self._case("update", dim, rank, len(feedback))]

    def _case(self, work: str, dim: int, rank: int, rows: int) -> Case:
        def run(count: int) -> float:
            return self._ask(work=work, dim=dim, rank=rank, rows=rows, count=count)

        return Case(self._package, run)

    def _ask(self, **order: object) -> float:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(json.dumps(order) + "\n")
        stdin.flush()
        for line in stdout:
            if line.startswith('{"seconds"'):  # the packages print things of their own
                return float(json.loads(line)["seconds"])
        raise RuntimeError(f"{self._package} ended before it answered {order}")
