"""Episodes of other agentic-flow clients as patterns.

agentdb prints an episode's text and its reward with two decimals, and tells successes apart; the
rest is not to be had. So such a pattern has

- ``id`` ``agentic-flow-<row>``, ``user_key`` ``agentic-flow``, ``created_at`` 0, default settings;
- ``outcome``: its reward (cut to [0, 1]), its success, ``reference_loss`` 1 and the gain that a
  reward stands for by default, ``2 * reward - 1``;
- ``context``: its text embedded, where an embedder of the bank's space was given, otherwise zeros;
  searches leave it out then.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

import numpy as np

from lorabank.protocols import Embedder
from lorabank.types.arrays import FloatArray, as_matrix
from lorabank.types.hyperparameters import Hyperparameters
from lorabank.types.pattern import Outcome, Pattern
from lorabank_agentic_flow.listing import Listed

WRITER = "agentic-flow"


async def foreign_patterns(
    episodes: Sequence[Listed],
    successes: Collection[int],
    namespace: str,
    embedder: Embedder | None,
    dim: int | None,
) -> list[Pattern]:
    """The episodes as patterns of one namespace, by the mapping above.

    Args:
        episodes: without envelope.
        successes: rows of the successful ones.
        namespace: where they are shown.
        embedder: of the bank's space, or None.
        dim: of the zero vectors without an embedder; None counts as 1.
    """
    if not episodes:
        return []
    contexts: FloatArray = np.zeros((len(episodes), dim or 1), np.float32)
    if embedder is not None:
        vectors = await embedder.embed([text for _, text, _ in episodes])
        contexts = as_matrix(vectors, "embedding", embedder.space.dim)
    return [
        _pattern(episode, episode[0] in successes, namespace, context)
        for episode, context in zip(episodes, contexts, strict=True)
    ]


def _pattern(episode: Listed, success: bool, namespace: str, context: FloatArray) -> Pattern:
    row, task, printed = episode
    reward = 0.0 if math.isnan(printed) else min(1.0, max(0.0, printed))
    gain = 2.0 * reward - 1.0
    return Pattern(
        id=f"{WRITER}-{row:012d}",
        namespace=namespace,
        user_key=WRITER,
        task=task,
        context=context,
        objective="mse",
        rank=1,
        hyperparameters=Hyperparameters(),
        selection="default",
        propensity=1.0,
        samples=1,
        created_at=0.0,
        outcome=Outcome(1.0 - gain, 1.0, gain, reward, success),
    )
