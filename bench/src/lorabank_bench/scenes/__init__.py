"""What the event loop is watched during."""

from lorabank_bench.scenes.bank import BANK_SCENES
from lorabank_bench.scenes.base import Scene, Work
from lorabank_bench.scenes.controls import CONTROLS
from lorabank_bench.scenes.learning import LEARNING_SCENES
from lorabank_bench.scenes.serving import SERVING_SCENES

SCENES = {**LEARNING_SCENES, **SERVING_SCENES, **BANK_SCENES}

__all__ = ["CONTROLS", "SCENES", "Scene", "Work"]
