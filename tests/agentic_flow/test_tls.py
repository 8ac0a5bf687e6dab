"""A real server behind TLS and a token: certificates are verified, the token is sent."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest
import trustme

from lorabank.errors import BankRejectedError, InvalidInputError
from lorabank_agentic_flow import open_store
from tests.agentic_flow.raw import raw_client
from tests.agentic_flow.samples import LATER, ids, pattern
from tests.agentic_flow.tls_proxy import TlsProxy, tls_proxy

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore:Async generator 'httpx:ResourceWarning"),
]
LIMIT = 300
TOKEN = "correct horse"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """An authority that no machine trusts."""
    return trustme.CA()


@pytest.fixture
def proxy(http_address: str, authority: trustme.CA) -> Iterator[TlsProxy]:
    """A proxy with a certificate for 127.0.0.1, in front of the real server."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with tls_proxy(http_address, context, f"Bearer {TOKEN}") as running:
        yield running


@pytest.fixture
def url(proxy: TlsProxy, monkeypatch: pytest.MonkeyPatch) -> str:
    """The proxy's, with a token that it takes."""
    monkeypatch.setenv("BANK_TOKEN", TOKEN)
    return f"agentic-flow+http://127.0.0.1:{proxy.port}/mcp?tls=true&token_env=BANK_TOKEN"


@pytest.fixture
def ca(authority: trustme.CA, tmp_path: Path) -> str:
    """The option that trusts the authority."""
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return f"&ca={path}"


async def test_a_certificate_of_an_unknown_authority_is_refused(url: str, proxy: TlsProxy) -> None:
    with anyio.fail_after(LIMIT), pytest.raises(BankRejectedError, match=r"is not trusted: .*ca="):
        async with open_store(url):
            pass
    assert (proxy.passed, proxy.refused) == (0, 0)  # no request left us


async def test_a_certificate_for_another_host_is_refused(
    url: str, proxy: TlsProxy, ca: str
) -> None:
    other = url.replace("127.0.0.1", "localhost") + ca
    with anyio.fail_after(LIMIT), pytest.raises(BankRejectedError, match="localhost"):
        async with open_store(other):
            pass
    assert not proxy.passed


async def test_with_the_authority_given_every_request_carries_the_token(
    url: str, proxy: TlsProxy, ca: str
) -> None:
    with anyio.fail_after(LIMIT):
        async with open_store(url + ca) as store:
            before = proxy.passed
            await store.put_many([pattern(1)])
            assert "p001" in await ids(store)
            assert before
            assert proxy.passed > before
        async with raw_client(url + ca) as call:
            await call("agentdb_delete", {"filters": {"before_timestamp": LATER}})
    assert not proxy.refused
    assert not proxy.failed


async def test_a_wrong_token_is_refused(
    url: str, proxy: TlsProxy, ca: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BANK_TOKEN", "wrong horse")
    with anyio.fail_after(LIMIT), pytest.raises(BankRejectedError, match="401") as caught:
        async with open_store(url + ca):
            pass
    assert "horse" not in str(caught.value)
    assert proxy.refused
    assert not proxy.passed


async def test_headers_of_the_program_are_sent(url: str, proxy: TlsProxy, ca: str) -> None:
    bare = url.replace("&token_env=BANK_TOKEN", "") + ca
    with anyio.fail_after(LIMIT):
        async with open_store(bare, headers={"Authorization": f"Bearer {TOKEN}"}):
            assert proxy.passed
    assert not proxy.refused


@pytest.mark.parametrize("options", ["tls=true&ca=/no/such.pem", "tls=true&ca=", "ca=ca.pem"])
async def test_an_authority_that_can_not_be_read_is_refused_at_once(options: str) -> None:
    with pytest.raises(InvalidInputError, match="ca"):
        async with open_store(f"agentic-flow+http://127.0.0.1:1/mcp?{options}"):
            pass
