"""URLs, and the documentation's page against the real server."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from lorabank.errors import InvalidInputError
from lorabank.hooks import BankUrl
from lorabank_agentic_flow.settings import http_options, stdio_options

ROOT = Path(__file__).parents[2]
STDIO = f"agentic-flow+stdio:///tmp/a%20b.db?server=/s.js&node={sys.executable}"


def test_a_stdio_url() -> None:
    transport, settings = stdio_options(BankUrl.parse(STDIO + "&timeout=3&cache_mb=1&foreign=x"))
    assert transport.database == Path("/tmp/a b.db")
    assert transport.exclusive
    assert (settings.timeout, settings.cache_bytes, settings.foreign) == (3.0, 1 << 20, "x")


def test_an_http_url(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_TOKEN", "secret")
    url = "agentic-flow+http://host:1/mcp?tls=true&token_env=MY_TOKEN&refresh=0"
    transport, settings = http_options(BankUrl.parse(url))
    assert transport.url == "https://host:1/mcp"
    assert transport.headers == {"Authorization": "Bearer secret"}
    assert "secret" not in repr(transport)
    assert settings.refresh == 0.0
    assert not transport.exclusive
    assert transport.longest_reply == 10 << 20
    assert http_options(BankUrl.parse(url + "&reply_mb=20"))[0].longest_reply == 20 << 20
    assert http_options(BankUrl.parse(url + "&reply_mb=0"))[0].longest_reply is None


@pytest.mark.parametrize(
    "url",
    [
        "agentic-flow+stdio:///a.db",
        "agentic-flow+stdio://host/a.db?server=/s.js",
        "agentic-flow+stdio:///a.db?server=/s.js&node=/no/such/node",
        STDIO + "&timeout=0",
        STDIO + "&timeout=nan",
        STDIO + "&timeout=soon",
        STDIO + "&refresh=1",
        STDIO + "&foreign=",
    ],
)
def test_a_wrong_stdio_url_is_refused(url: str) -> None:
    with pytest.raises(InvalidInputError):
        stdio_options(BankUrl.parse(url))


@pytest.mark.parametrize(
    "url",
    [
        "agentic-flow+http:///mcp",
        "agentic-flow+http://h/mcp?tls=maybe",
        "agentic-flow+http://h/mcp?token_env=NO_SUCH_VARIABLE_IS_SET",
        "agentic-flow+http://h/mcp?server=/s.js",
    ],
)
def test_a_wrong_http_url_is_refused(url: str) -> None:
    with pytest.raises(InvalidInputError):
        http_options(BankUrl.parse(url))


def test_the_pages_program_and_the_example_run(server_script: Path, tmp_path: Path) -> None:
    page = (ROOT / "docs" / "agentic-flow.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    example = ROOT / "plugins" / "agentic-flow" / "examples" / "smallest.py"
    for program in (code, example.read_text()):
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", program],
            cwd=tmp_path,
            env=os.environ | {"AGENTDB_SERVER": str(server_script)},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip()
