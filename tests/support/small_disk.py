"""A file system that is soon full."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def small_disk(directory: Path, megabytes: int = 3) -> Iterator[None]:
    """Mount one of so many megabytes on ``directory``; skips the test where that is not allowed."""
    mount = shutil.which("mount")
    size = f"size={megabytes}m"
    command = [mount or "mount", "-t", "tmpfs", "-o", size, "tmpfs", str(directory)]
    if mount is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("may not mount a small file system here; the limit on files is tested")
    try:
        yield
    finally:
        subprocess.run(["umount", str(directory)], check=True)
