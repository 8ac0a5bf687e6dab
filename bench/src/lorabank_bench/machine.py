"""The machine line: what the numbers were measured on, and how busy it was.

numpy's BLAS chooses kernels for the processor that it finds, unless the environment names others:
the line says which ones it runs, so that a slow "plain numpy" can be seen.
"""

from __future__ import annotations

import os
import platform
import sqlite3
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_info  # type: ignore[import-untyped]

DISTRIBUTIONS = ("lorabank", "faiss-cpu", "anyio", "torch", "peft")


def this_machine(dropped: Mapping[str, str]) -> dict[str, Any]:
    """Processor, cores, versions, BLAS, load; ``dropped`` is what was not used for BLAS."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "numpy": np.__version__,
        "sqlite": sqlite3.sqlite_version,
        "versions": {name: version for name in DISTRIBUTIONS if (version := _version(name))},
        "blas": _blas(),
        "blas_dropped": dict(dropped),
        "load_at_start": round(os.getloadavg()[0], 2),
    }


def line(machine: dict[str, Any]) -> str:
    """The above in one line."""
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    return (
        f"{machine['processor']}, {machine['cores']} cores, {machine['system']}, "
        f"Python {machine['python']}, numpy {machine['numpy']}, SQLite {machine['sqlite']}, "
        f"{versions}; numpy's BLAS: {machine['blas']}{_not_used(machine['blas_dropped'])}; "
        f"load {machine['load_at_start']} when the run began."
    )


def _not_used(dropped: Mapping[str, str]) -> str:
    listed = ", ".join(f"{name}={value}" for name, value in dropped.items())
    return listed and f" (of the environment, {listed} was not used)"


def _blas() -> str:
    """Library, its kernels, threads."""
    found = [one for one in threadpool_info() if one["user_api"] == "blas"]
    found.sort(key=lambda one: "numpy" not in one["filepath"])  # FAISS may bring its own
    own = found[0] if found else {}
    name, version = own.get("internal_api", "unknown"), own.get("version", "")
    kernels, threads = own.get("architecture", "unknown"), own.get("num_threads", "?")
    return f"{name} {version}, kernels for {kernels}, {threads} thread{'s' * (threads != 1)}"


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = (row.split(":", 1)[1].strip() for row in lines if row.startswith("model name"))
    return next(names, platform.processor() or platform.machine())
