"""The machine line: what the numbers were measured on, and how busy it was."""

from __future__ import annotations

import os
import platform
import sqlite3
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

DISTRIBUTIONS = ("lorabank", "faiss-cpu", "anyio", "torch", "peft")


def this_machine() -> dict[str, Any]:
    """Processor, cores, versions, threads of BLAS, load."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "numpy": np.__version__,
        "sqlite": sqlite3.sqlite_version,
        "versions": {name: version for name in DISTRIBUTIONS if (version := _version(name))},
        "blas_threads": os.environ.get("OPENBLAS_NUM_THREADS", "all"),
        "load_at_start": round(os.getloadavg()[0], 2),
    }


def line(machine: dict[str, Any]) -> str:
    """The above in one line."""
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    return (
        f"{machine['processor']}, {machine['cores']} cores, {machine['system']}, "
        f"Python {machine['python']}, numpy {machine['numpy']}, SQLite {machine['sqlite']}, "
        f"{versions}; BLAS threads: {machine['blas_threads']}; "
        f"load {machine['load_at_start']} when the run began."
    )


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
