"""Keeps a pattern in agentic-flow's memory: needs Node.js and agentdb's server.

Without the path of ``agentdb-mcp-server.js`` in AGENTDB_SERVER it shows what a wrong path costs.
"""

import os
import tempfile

import anyio

from lorabank import EmbeddingSpace, InvalidInputError, open_bank

SERVER = os.environ.get("AGENTDB_SERVER", "/not/there/agentdb-mcp-server.js")


async def main() -> None:
    """Open a bank on a new database."""
    with tempfile.TemporaryDirectory() as place:
        url = f"agentic-flow+stdio://{place}/agentdb.db?server={SERVER}&node=true"
        if "AGENTDB_SERVER" in os.environ:
            url = url.removesuffix("&node=true")
        try:
            async with open_bank(url, space=EmbeddingSpace("my-encoder", 4)) as bank:
                print(await bank.stats("default"))
        except InvalidInputError as exc:
            print(f"no server: {exc}")


anyio.run(main)
