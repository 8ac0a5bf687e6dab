"""A bank in a directory: opened again, the patterns are still there."""

import tempfile

import anyio
import numpy as np

from lorabank import EmbeddingSpace, EngineConfig, Feedback, LoRAPersonalizationEngine


async def main(url: str) -> None:
    rng = np.random.default_rng(0)
    config = EngineConfig(EmbeddingSpace("example", dim=32), rank=4)
    interests = rng.standard_normal((5, 32))
    async with LoRAPersonalizationEngine(config, url) as engine:
        for user in ("ada", "grace"):
            adapter = await engine.create_adapter(user)
            for _ in range(30):
                x = rng.standard_normal((10, 5)) @ interests
                adapter, _ = await engine.update_adapter(adapter, Feedback(x, 0.5 * x))
    async with LoRAPersonalizationEngine(config, url) as engine:
        found = await engine.get_similar_adaptations(x.mean(axis=0), k=3)
    assert len(found) == 3
    print(f"3 similar adaptations, the nearest at {found[0].score:.3f}")


with tempfile.TemporaryDirectory() as directory:
    anyio.run(main, f"faiss://{directory}/bank")
