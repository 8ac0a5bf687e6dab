"""How far rankings lean towards what follows what, beyond the most likely weights.

Weights of maximum likelihood serve every event alike, the hopeless ones in the long tail too. The
first ten places are decided by the few items that lately went with the user's last ones, and there
more weight on these ranks better. Probabilities, and what is guaranteed of them, stay as they are.
"""

from __future__ import annotations

import numpy as np

from lorabank.population.ground import Ground
from lorabank.population.predictor import Predictor
from lorabank.population.proof import ndcg, user_means
from lorabank.types.arrays import IntArray

TILTS = (0.0, 0.5, 1.0, 2.0)
FOLLOWING = ("neighbour_weight", "transition_weight")


def choose_tilt(ground: Ground, predictor: Predictor, positions: IntArray) -> float:
    """The tilt under which the rows' targets rank best by nDCG@10, each user counting the same.

    Args:
        ground: of the training.
        predictor: the fullest expert, calibrated: a tilt t multiplies its weights of neighbours and
            transitions by 1 + t.
        positions: (n,) rows of held-out users.
    """
    assert predictor.weights is not None
    leaning = np.array([name in FOLLOWING for name in predictor.names])
    own = np.array(predictor.weights)
    if not own[leaning].any():
        return 0.0
    weights = own * (1.0 + np.outer(TILTS, leaning))
    gains = np.zeros((len(TILTS), 0))
    for events in predictor.events(ground, positions):
        part = [ndcg(predictor.ranks(events, row.tolist())) for row in weights]
        gains = np.concatenate([gains, part], axis=1)
    user = ground.rows.user[positions]
    means = [float(user_means(gain, user).mean()) for gain in gains]
    # Of equals the first, which leans least.
    return TILTS[int(np.argmax(means))]
