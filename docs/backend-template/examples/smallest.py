"""A bank in a file: what one process learned is there for the next."""

import sys
import tempfile
from pathlib import Path

import anyio
import numpy as np

from lorabank import EmbeddingSpace, EngineConfig, Feedback, LoRAPersonalizationEngine, open_bank


async def main(url: str) -> None:
    rng = np.random.default_rng(0)
    config = EngineConfig(EmbeddingSpace("example", dim=32), rank=4)
    async with LoRAPersonalizationEngine(config, url) as engine:
        adapter = await engine.create_adapter("ada")
        for _ in range(5):
            x = rng.standard_normal((10, 32))
            adapter, _ = await engine.update_adapter(adapter, Feedback(x, 0.5 * x))
    async with open_bank(url) as bank:
        stats = await bank.stats("default")
    assert stats.patterns == 5
    sys.stdout.write(f"{stats.patterns} patterns outlived the engine\n")


with tempfile.TemporaryDirectory() as directory:
    anyio.run(main, f"template://{Path(directory).as_posix()}/bank.db")
