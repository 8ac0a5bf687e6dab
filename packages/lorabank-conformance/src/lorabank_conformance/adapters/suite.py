"""`AdapterStoreConformance`: all laws of an adapter store."""

from __future__ import annotations

from lorabank_conformance.adapters.cancellation import CancellationLaws
from lorabank_conformance.adapters.committing import CommitLaws
from lorabank_conformance.adapters.concurrency import ConcurrencyLaws
from lorabank_conformance.adapters.differential import DifferentialLaws
from lorabank_conformance.adapters.durability import DurabilityLaws
from lorabank_conformance.adapters.duties import DutyLaws
from lorabank_conformance.adapters.forgetting import ForgetLaws
from lorabank_conformance.adapters.hostility import HostilityLaws
from lorabank_conformance.adapters.lifecycle import LifecycleLaws
from lorabank_conformance.adapters.populations import PopulationLaws
from lorabank_conformance.adapters.processes import ProcessLaws
from lorabank_conformance.adapters.queueing import QueueLaws
from lorabank_conformance.adapters.records import RecordLaws
from lorabank_conformance.adapters.replaying import ReplayLaws
from lorabank_conformance.adapters.scanning import ScanLaws


# pytest runs the laws of the last base first, and random histories take longest.
class AdapterStoreConformance(
    DifferentialLaws,
    CancellationLaws,
    ConcurrencyLaws,
    LifecycleLaws,
    ProcessLaws,
    DurabilityLaws,
    HostilityLaws,
    ScanLaws,
    RecordLaws,
    PopulationLaws,
    ReplayLaws,
    DutyLaws,
    ForgetLaws,
    QueueLaws,
    CommitLaws,
):
    """Every law of an `AdapterStore`, on asyncio and trio.

    Subclass it and give one fixture. The opener takes the settings of the replay, or none::

        class TestMyStore(AdapterStoreConformance):
            @pytest.fixture
            def opener(self, tmp_path):
                return lambda replay=None: open_my_store(tmp_path / "adapters.db", replay)
    """
