"""What is proved, open in another process as well: started, asked, and killed from a law."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
from anyio.abc import Process
from anyio.streams.buffered import BufferedByteReceiveStream

from lorabank.types.space import EmbeddingSpace
from lorabank_conformance.laws import NotApplicableError

MODULE = f"{__package__}.other_process"
LONGEST_ANSWER = 1 << 20


@dataclass(frozen=True, slots=True)
class Address:
    """How another process opens what a suite's `opener` opens.

    Attributes:
        text: as for ``--bank``: ``module:function``, or a URL ({tmp} stands for ``directory``).
        directory: given to the function, if it takes an argument.
    """

    text: str
    directory: Path


class Elsewhere:
    """The other process, as a law sees it. Use `elsewhere`."""

    def __init__(self, process: Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._process = process
        self._stdin = process.stdin
        self._answers = BufferedByteReceiveStream(process.stdout)

    async def ask(self, what: str, *arguments: Any) -> Any:
        """Let it do something of `other_process.WORKS`; what that returned."""
        await self._stdin.send(json.dumps([what, *arguments]).encode() + b"\n")
        return json.loads(await self._answers.receive_until(b"\n", LONGEST_ANSWER))

    async def kill(self) -> None:
        """End it at once, with all that it has open."""
        self._process.kill()
        await self._process.wait()


@asynccontextmanager
async def elsewhere(address: Address | None, space: EmbeddingSpace) -> AsyncIterator[Elsewhere]:
    """A new Python process that has it open; killed in the end.

    Raises: NotApplicableError without an address.
    """
    if address is None:
        raise NotApplicableError("the suite gives no `address` to open it by in another process")
    about = [address.text, str(address.directory), space.name, space.dim, space.normalised]
    process = await anyio.open_process(
        [sys.executable, "-m", MODULE, json.dumps(about)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=None,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    async with process:
        try:
            yield Elsewhere(process)
        finally:
            if process.returncode is None:
                process.kill()
