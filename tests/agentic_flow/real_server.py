"""The real agentdb server from the npm registry, installed once into the repository's cache.

Tests import this as fixtures do; ``python -m tests.agentic_flow.real_server`` prints where the
server is, and installs it if need be.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
CACHE = ROOT / ".cache" / "agentic-flow"
AGENTDB = ("agentdb", "3.0.0-alpha.20", ("--omit=optional",))
MCP_PROXY = ("mcp-proxy", "6.7.19", ())
SQLITE = "better-sqlite3@11.10.0"
_INSTALL_TIME = 600.0
_START_TIME = 300.0


class MissingError(Exception):
    """Node.js or the registry is not to be had here."""


def server_script() -> Path:
    """agentdb's MCP server. Raises MissingError."""
    return _installed(*AGENTDB) / "agentdb/dist/src/mcp/agentdb-mcp-server.js"


def native_server_script() -> Path:
    """The same server beside better-sqlite3, which is compiled here. Raises MissingError."""
    name, version, flags = AGENTDB
    modules = _installed(name, version, (*flags, SQLITE), "-native", _compile_sqlite)
    return modules / "agentdb/dist/src/mcp/agentdb-mcp-server.js"


def proxy_script() -> Path:
    """The program that offers a stdio server over HTTP. Raises MissingError."""
    return _installed(*MCP_PROXY) / ".bin/mcp-proxy"


def node() -> str:
    """Node.js. Raises MissingError."""
    found = shutil.which("node")
    if found is None or shutil.which("npm") is None:
        raise MissingError("Node.js and npm are not on the path")
    return found


def _installed(
    name: str,
    version: str,
    flags: tuple[str, ...],
    kind: str = "",
    finish: Callable[[Path], None] | None = None,
) -> Path:
    node()
    home = CACHE / f"{name}-{version}{kind}"
    CACHE.mkdir(parents=True, exist_ok=True)
    with Path(f"{home}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several runs of the tests may want it
        if (home / "node_modules" / name).is_dir():
            return home / "node_modules"
        with tempfile.TemporaryDirectory(dir=CACHE) as place:
            _npm_install(f"{name}@{version}", flags, Path(place))
            if finish is not None:
                finish(Path(place, "node_modules"))
            home.mkdir(exist_ok=True)
            Path(place, "node_modules").rename(home / "node_modules")
    return home / "node_modules"


def _npm_install(package: str, flags: tuple[str, ...], place: Path) -> None:
    quiet = ("--ignore-scripts", "--no-audit", "--no-fund", "--prefix", str(place))
    _run(["npm", "install", package, *flags, *quiet], place)


def _compile_sqlite(modules: Path) -> None:
    """Without optimisation, which takes a quarter of the time that `npm install` would take.

    Node's headers are taken from where Node is, if they are there, instead of the network.
    """
    prefix = Path(node()).resolve().parents[1]
    headers = [f"--nodedir={prefix}"] if (prefix / "include/node/node.h").is_file() else []
    tool = Path(_run(["npm", "root", "--global"], modules).strip(), "npm/node_modules/node-gyp")
    command = [node(), str(tool / "bin/node-gyp.js"), "rebuild", "--debug", *headers]
    _run(command, modules / "better-sqlite3")


def _run(command: list[str], place: Path) -> str:
    try:
        done = subprocess.run(
            command, cwd=place, check=True, capture_output=True, text=True, timeout=_INSTALL_TIME
        )
    except (subprocess.SubprocessError, OSError) as exc:
        said = getattr(exc, "stderr", "") or str(exc)
        raise MissingError(f"{' '.join(command)} failed: {said.strip()[-300:]}") from exc
    return done.stdout


def free_port() -> int:
    """A loopback port that nobody uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def http_server(database: Path, port: int | None = None) -> Iterator[str]:
    """The server behind mcp-proxy on a loopback port (a free one); yields host:port.

    It is ended by pid. The database must be there, with its schema.
    """
    port = port or free_port()
    command = [node(), str(proxy_script()), "--host", "127.0.0.1", "--port", str(port), "--"]
    environment = os.environ | {"AGENTDB_PATH": str(database), "AGENTDB_DISABLE_TRANSFORMERS": "1"}
    with Path(f"{database}.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, node(), str(server_script())],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        _wait_until_listening(process, port)
        yield f"127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_listening(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + _START_TIME
    pause = threading.Event()
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise MissingError(f"mcp-proxy ended with {process.returncode} before it listened")
        try:
            socket.create_connection(("127.0.0.1", port), 1.0).close()
        except OSError:
            pause.wait(0.02)
        else:
            return
    raise MissingError("mcp-proxy does not listen")


if __name__ == "__main__":
    sys.stdout.write(f"{server_script()}\n{proxy_script()}\n")
