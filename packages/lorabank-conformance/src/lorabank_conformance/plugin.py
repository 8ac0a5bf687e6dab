"""The pytest plugin: ``--bank``, and the choice of suites by what it opens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

# Imports of the kit itself wait until they are needed: this is loaded in every pytest run.
if TYPE_CHECKING:
    from lorabank_conformance.target import Target

PACKAGE = "lorabank_conformance"
MODULE = f"{PACKAGE}.test_bank"
NO_BANK = (
    f"{PACKAGE} must be told what to prove: --bank mypkg:open_store, "
    "or a URL such as --bank memory:// or --bank 'faiss://{tmp}/bank'"
)
_TARGET: pytest.StashKey[Target] = pytest.StashKey()

for _part in ("adapters", "banks", "stores", "compare", "heartbeat", "suite"):
    pytest.register_assert_rewrite(f"{PACKAGE}.{_part}")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--bank`` and ``--bank-space``."""
    group = parser.getgroup("lorabank", "lorabank conformance")
    group.addoption(
        "--bank",
        metavar="MODULE:FUNCTION|URL",
        help="the store or bank to prove: a function that opens it (given a fresh directory if it "
        "takes an argument), or a bank URL ({tmp} stands for a fresh directory); an adapter store "
        "is named likewise, by a function that also takes replay=, or sqlite:///{tmp}/app.db",
    )
    group.addoption(
        "--bank-space",
        metavar="NAME:DIM",
        default="conformance:8",
        help="the embedding space to prove it in; ':normalised' may follow (default: %(default)s)",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Open what ``--bank`` names once, so that a mistake in it is one usage error."""
    from_command_line = config.getoption("--bank")
    if from_command_line is not None:
        from lorabank_conformance.target import Target

        target = Target.resolve(from_command_line, config.getoption("--bank-space"))
        config.stash[_TARGET] = target
    from lorabank_conformance.summary import Summary

    config.pluginmanager.register(Summary(), f"{PACKAGE}-summary")


def pytest_report_header(config: pytest.Config) -> str | None:
    """Say what is proved."""
    target = config.stash.get(_TARGET, None)
    if target is None:
        return None
    kinds = ", ".join(sorted(target.kinds)) + (f" [{target.declares}]" if target.declares else "")
    return f"lorabank conformance: {target.text} is a {kinds}, in {target.space}"


def pytest_pycollect_makeitem(collector: pytest.Collector, name: str, obj: Any) -> list[Any] | None:
    """Leave out the suites that do not fit what ``--bank`` opens."""
    target = collector.config.stash.get(_TARGET, None)
    if target is None or getattr(obj, "__module__", None) != MODULE or not isinstance(obj, type):
        return None
    return None if name.removeprefix("Test") in target.kinds else []


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Refuse to go on without ``--bank``: what proves nothing must not look green."""
    if config.stash.get(_TARGET, None) is None and any(map(_is_ours, items)):
        raise pytest.UsageError(NO_BANK)


@pytest.fixture
def conformance_target(request: pytest.FixtureRequest) -> Target:
    """What ``--bank`` names."""
    return request.config.stash[_TARGET]


def _is_ours(item: pytest.Item) -> bool:
    module = getattr(item, "module", None)
    return getattr(module, "__name__", None) == MODULE
