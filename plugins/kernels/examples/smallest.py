"""Transform embeddings with a compiled kernel."""

import asyncio

import numpy as np

from lorabank import EmbeddingSpace, EngineConfig, LoRAPersonalizationEngine


async def main() -> None:
    config = EngineConfig(EmbeddingSpace("example", 64), rank=4, kernel="compiled")
    async with LoRAPersonalizationEngine(config) as engine:
        adapter = await engine.create_adapter("ada")
        print(engine.kernel.name, adapter.transform(np.ones(64, np.float32))[:3])


asyncio.run(main())
