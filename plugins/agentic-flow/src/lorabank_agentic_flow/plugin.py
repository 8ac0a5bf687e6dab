"""The hook that offers ``agentic-flow+stdio://`` and ``agentic-flow+http://``."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

from lorabank.hooks import Backend, BankUrl, Register, hookimpl
from lorabank.protocols import PatternStore
from lorabank_agentic_flow.opening import open_store


@hookimpl
def lorabank_register_backends(register: Register) -> None:
    """Offer both schemes."""
    for scheme in ("agentic-flow+stdio", "agentic-flow+http"):
        register(Backend(scheme, open_store=_open))


def _open(url: BankUrl) -> AbstractAsyncContextManager[PatternStore]:
    return open_store(url)
