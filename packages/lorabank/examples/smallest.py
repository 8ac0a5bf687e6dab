"""The core alone: an adapter learns what its user makes of five interests, without any bank."""

import anyio
import numpy as np

from lorabank import EmbeddingSpace, EngineConfig, Feedback, LoRAPersonalizationEngine


async def main() -> None:
    rng = np.random.default_rng(0)
    config = EngineConfig(EmbeddingSpace("example", dim=32), rank=4)
    interests = rng.standard_normal((5, 32))
    taste = rng.standard_normal((32, 4)) @ rng.standard_normal((4, 32)) / 32
    async with LoRAPersonalizationEngine(config) as engine:
        adapter = await engine.create_adapter("ada")
        for _ in range(50):
            x = rng.standard_normal((10, 5)) @ interests
            adapter, report = await engine.update_adapter(adapter, Feedback(x, x + x @ taste))
    assert report.loss_after < report.identity_loss / 2
    print(f"loss {report.identity_loss:.3f} -> {report.loss_after:.3f}")


anyio.run(main)
