"""What is measured, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from lorabank_bench.results import Results
from lorabank_bench.setup import Setup
from lorabank_bench.suites.engine import engine
from lorabank_bench.suites.heartbeat import heartbeat
from lorabank_bench.suites.many import many
from lorabank_bench.suites.personalizer import personalizer
from lorabank_bench.suites.scaling import scaling
from lorabank_bench.suites.single import forward, ranking, update

SUITES: Mapping[str, Callable[[Setup, Results], None]] = {
    "forward": forward,
    "update": update,
    "rank": ranking,
    "many": many,
    "engine": engine,
    "personalizer": personalizer,
    "scaling": scaling,
    "heartbeat": heartbeat,
}
