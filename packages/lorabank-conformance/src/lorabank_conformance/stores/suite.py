"""`PatternStoreConformance`: all laws of a pattern store."""

from __future__ import annotations

from lorabank_conformance.stores.cancellation import CancellationLaws
from lorabank_conformance.stores.capabilities import CapabilityLaws
from lorabank_conformance.stores.concurrency import ConcurrencyLaws
from lorabank_conformance.stores.deletion import DeletionLaws
from lorabank_conformance.stores.differential import DifferentialLaws
from lorabank_conformance.stores.durability import DurabilityLaws
from lorabank_conformance.stores.filters import FilterLaws
from lorabank_conformance.stores.hostility import HostilityLaws
from lorabank_conformance.stores.lifecycle import LifecycleLaws
from lorabank_conformance.stores.namespaces import NamespaceLaws
from lorabank_conformance.stores.ownership import OwnershipLaws
from lorabank_conformance.stores.processes import ProcessLaws
from lorabank_conformance.stores.ranking import RankingLaws
from lorabank_conformance.stores.records import RecordLaws
from lorabank_conformance.stores.refusing import RefusalLaws
from lorabank_conformance.stores.scanning import ScanLaws
from lorabank_conformance.stores.skills import SkillLaws
from lorabank_conformance.stores.spaces import SpaceLaws
from lorabank_conformance.stores.writing import WriteLaws


# pytest runs the laws of the last base first, and random histories take longest.
class PatternStoreConformance(
    DifferentialLaws,
    CancellationLaws,
    ConcurrencyLaws,
    LifecycleLaws,
    ProcessLaws,
    DurabilityLaws,
    CapabilityLaws,
    SpaceLaws,
    SkillLaws,
    HostilityLaws,
    NamespaceLaws,
    RefusalLaws,
    DeletionLaws,
    ScanLaws,
    OwnershipLaws,
    WriteLaws,
    RecordLaws,
    FilterLaws,
    RankingLaws,
):
    """Every law of a `PatternStore`, on asyncio and trio.

    Subclass it and give one fixture::

        class TestMyStore(PatternStoreConformance):
            @pytest.fixture
            def opener(self, tmp_path):
                return lambda: open_my_store(tmp_path / "bank")

    A store that processes share also says how another one opens the same place::

                self.address = Address("mine://{tmp}/bank", tmp_path)
    """
