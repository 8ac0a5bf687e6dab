"""The kit itself: its options, its guard over the laws, its summary, and its samples."""

from __future__ import annotations

import sys
from dataclasses import MISSING, fields

import pytest

from lorabank.types.pattern import Pattern, TrialOutcome
from lorabank.types.skill import Skill
from lorabank.types.space import EmbeddingSpace
from lorabank_conformance import PatternStoreConformance, ReasoningBankConformance, laws_of
from lorabank_conformance.samples import Samples

pytest_plugins = "pytester"

SUITE = """
import pytest
from lorabank.hooks import BankUrl
from lorabank_conformance import PatternStoreConformance
from lorabank_memory.plugin import open_memory_store

class TestIt(PatternStoreConformance):
    @pytest.fixture
    def opener(self):
        return lambda: open_memory_store(BankUrl.parse("memory://"))
"""
OVERRIDE = """
    def test_tie_order(self, opener, async_library):
        assert {holds}
"""
SHARED = """
import pytest
from lorabank.stores import open_adapter_store
from lorabank_conformance import Address, AdapterStoreConformance

class TestIt(AdapterStoreConformance):
    @pytest.fixture
    def opener(self, tmp_path):
        {address}
        return lambda replay=None: open_adapter_store(f"sqlite:///{{tmp_path}}/a.db", replay=replay)
"""
FACTORIES = """
from contextlib import asynccontextmanager
from lorabank.protocols import Capability
from lorabank.stores import MemoryAdapterStore
from lorabank_memory import MemoryStore

class Durable(MemoryStore):
    capabilities = frozenset({Capability.DURABLE})

@asynccontextmanager
async def open_store():
    yield MemoryStore()

@asynccontextmanager
async def open_durable():
    yield Durable()

@asynccontextmanager
async def open_at(directory):
    (directory / "was here").touch(exist_ok=False)
    yield MemoryStore()

@asynccontextmanager
async def open_adapters(replay=None):
    yield MemoryAdapterStore(replay)

@asynccontextmanager
async def open_number():
    yield 1

@asynccontextmanager
async def open_nothing():
    raise OSError("no such disk")
    yield

number = 1
"""


def run(pytester: pytest.Pytester, *args: str) -> pytest.RunResult:
    return pytester.runpytest_inprocess("-p", "no:cacheprovider", *args)


def prove(pytester: pytest.Pytester, *args: str) -> pytest.RunResult:
    pytester.makepyfile(factories=FACTORIES)
    pytester.syspathinsert()
    return run(pytester, "--pyargs", "lorabank_conformance", *args)


def test_without_bank_it_is_a_usage_error(pytester: pytest.Pytester) -> None:
    result = prove(pytester)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*must be told what to prove: --bank*"])


@pytest.mark.parametrize(
    ("bank", "message"),
    [
        ("memori://", "*unknown backend 'memori'*"),
        ("memory://host", "*expected 'memory://' without*"),
        ("no_such_module:open", "*neither a URL nor an importable*"),
        ("factories", "*neither a URL nor an importable*"),
        ("factories:no_such_name", "*neither a URL nor an importable*"),
        ("factories:number", "*is not callable*"),
        ("factories:open_number", "*neither a PatternStore nor*"),
        ("factories:open_nothing", "*no such disk*"),
        ("factories:open_durable", "*put {tmp} into the URL*"),
    ],
)
def test_a_wrong_bank_is_a_usage_error(pytester: pytest.Pytester, bank: str, message: str) -> None:
    result = prove(pytester, "--bank", bank)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([message])


def test_a_module_of_the_working_directory_is_found(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(factories=FACTORIES)
    script = "import sys, pytest; sys.exit(pytest.main())"  # what the command `pytest` is
    laws = ("--pyargs", "lorabank_conformance", "-k", "tie_order", "-p", "no:cacheprovider")
    command = (sys.executable, "-P", "-c", script, *laws, "--bank", "factories:open_store")
    result = pytester.run(*command, timeout=120)
    result.assert_outcomes(passed=2, deselected=result.parseoutcomes()["deselected"])


@pytest.mark.parametrize("space", ["", "name", "name:3", "name:x", ":8", "name:8:unknown"])
def test_a_wrong_space_is_a_usage_error(pytester: pytest.Pytester, space: str) -> None:
    result = prove(pytester, "--bank", "memory://", "--bank-space", space)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*not NAME:DIM*"])


@pytest.mark.parametrize("bank", ["memory://", "factories:open_store", "factories:open_at"])
def test_the_suite_is_chosen_by_type(pytester: pytest.Pytester, bank: str) -> None:
    laws = "search_order or tie_order or store_then_retrieve"
    result = prove(pytester, "--bank", bank, "-v", "-k", laws, "--bank-space", "other:16")
    assert result.ret == 0
    result.assert_outcomes(passed=4, deselected=result.parseoutcomes()["deselected"])
    result.stdout.fnmatch_lines([f"lorabank conformance: {bank} is a PatternStore*other (dim 16)"])
    result.stdout.no_fnmatch_line("*TestReasoningBank*")


@pytest.mark.parametrize(
    ("bank", "passed"), [("factories:open_adapters", 6), ("sqlite:///{tmp}/app.db", 8)]
)
def test_adapter_stores_have_their_own_suite(
    pytester: pytest.Pytester, bank: str, passed: int
) -> None:
    laws = "queue_order or replay_age or test_lease or shared_lease or search_order"
    result = prove(pytester, "--bank", bank, "-v", "-k", laws, "--bank-space", "other:16")
    skipped = 8 - passed
    outcomes = {"passed": passed, "skipped": skipped} if skipped else {"passed": passed}
    result.assert_outcomes(**outcomes, deselected=result.parseoutcomes()["deselected"])
    result.stdout.fnmatch_lines([f"lorabank conformance: {bank} is a AdapterStore*"])
    result.stdout.no_fnmatch_line("*TestPatternStore*")


def test_skips_are_printed_with_reasons(pytester: pytest.Pytester) -> None:
    result = prove(pytester, "--bank", "memory://", "-q", "-k", "reopen_keeps")
    result.stdout.fnmatch_lines(
        ["*laws skipped*", "TestPatternStore reopen-keeps-all: DURABLE is not declared"]
    )


def test_laws_of_two_processes_take_an_address(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_it=SHARED.format(address=""))
    result = run(pytester, "-k", "process")
    result.assert_outcomes(skipped=4, deselected=result.parseoutcomes()["deselected"])
    result.stdout.fnmatch_lines(["*laws skipped*", "TestIt killed-process: *gives no `address`*"])


def test_a_store_that_another_process_does_not_share_is_found_out(
    pytester: pytest.Pytester,
) -> None:
    address = 'self.address = Address("sqlite:///{tmp}/another.db", tmp_path)'
    pytester.makepyfile(test_it=SHARED.format(address=address))
    result = run(pytester, "-k", "process")
    result.assert_outcomes(failed=4, deselected=result.parseoutcomes()["deselected"])


def test_two_processes_open_what_the_command_line_names(pytester: pytest.Pytester) -> None:
    result = prove(pytester, "--bank", "sqlite:///{tmp}/app.db", "-k", "processes_share")
    result.assert_outcomes(passed=2, deselected=result.parseoutcomes()["deselected"])


def test_broken_laws_are_named_with_what_they_protect(pytester: pytest.Pytester) -> None:
    result = prove(pytester, "--bank", "factories:open_store", "-q", "-k", "use_after_block")
    result.assert_outcomes(failed=2, deselected=result.parseoutcomes()["deselected"])
    result.stdout.fnmatch_lines(["*laws broken*", "TestPatternStore use-after-block: Protects *"])


def test_a_law_is_not_overridden_silently(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_it=SUITE + OVERRIDE.format(holds=True))
    result = run(pytester, "-k", "tie_order or overridden")
    result.assert_outcomes(failed=1, passed=2, deselected=result.parseoutcomes()["deselected"])
    result.stdout.fnmatch_lines(["*test_tie_order*"])


@pytest.mark.parametrize("replacement", ["None", "PatternStoreConformance.test_round_trip"])
def test_nor_taken_away(pytester: pytest.Pytester, replacement: str) -> None:
    pytester.makepyfile(test_it=SUITE + f"    test_tie_order = {replacement}\n")
    result = run(pytester, "-k", "overridden")
    result.assert_outcomes(failed=1, deselected=result.parseoutcomes()["deselected"])


def test_a_reasoned_exception_is_printed(pytester: pytest.Pytester) -> None:
    mark = "\n    @pytest.mark.xfail(reason='the server rounds')"
    pytester.makepyfile(test_it=SUITE + mark + OVERRIDE.format(holds=False))
    result = run(pytester, "-k", "tie_order or overridden")
    result.assert_outcomes(xfailed=2, passed=1, deselected=result.parseoutcomes()["deselected"])


def test_the_guard_can_not_be_overridden() -> None:
    with pytest.raises(TypeError, match="must not override"):
        type("T", (PatternStoreConformance,), {"test_laws_are_not_overridden": None})


def test_a_suite_without_opener_fails(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_it=SUITE.partition("    @pytest")[0] + "    pass\n")
    result = run(pytester, "-k", "tie_order")
    result.assert_outcomes(errors=2, deselected=result.parseoutcomes()["deselected"])
    result.stdout.fnmatch_lines(["*must give the fixture `opener`*"])


@pytest.mark.parametrize("suite", [PatternStoreConformance, ReasoningBankConformance])
def test_every_law_says_what_it_protects(suite: type) -> None:
    assert len(laws_of(suite)) >= 20
    for law in laws_of(suite).values():
        assert law.protects.startswith("Protects "), law.id


@pytest.mark.parametrize("kind", [Pattern, Skill, TrialOutcome])
def test_full_samples_leave_no_field_at_its_default(kind: type) -> None:
    make = Samples(EmbeddingSpace("samples", 8))
    pattern, skill = make.full_pattern("p"), make.full_skill("s")
    record = {Pattern: pattern, Skill: skill, TrialOutcome: pattern.trial}[kind]
    for field in fields(kind):
        if field.default is not MISSING:
            assert getattr(record, field.name) != field.default, field.name
