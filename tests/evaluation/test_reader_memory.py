"""However long the file is, reading takes about as much memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

MEASURE = """
import resource, sys
from lorabank.evaluation.sources import load_dataset
import pyarrow.csv
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
load_dataset(sys.argv[1] + "/first.csv", sys.argv[1] + "/items.npz")
before = peak()
data = load_dataset(sys.argv[1] + "/log.csv", sys.argv[1] + "/items.npz", most_rows=100_000)
print(data.reading.rows, len(data.user), peak() - before)
"""


def write_log(folder: Path, rows: int, users: int) -> None:
    rng = np.random.default_rng(0)
    np.savez(folder / "items.npz", item_id=np.arange(1000), vectors=rng.random((1000, 4)))
    header = "user_id,item_id,timestamp\n"
    (folder / "first.csv").write_text(header + "user-0,1,1\n" * 30_000)
    with (folder / "log.csv").open("w") as file:
        file.write(header)
        for start in range(0, rows, 50_000):
            size = min(50_000, rows - start)
            columns = (rng.integers(0, users, size), rng.integers(0, 1000, size))
            lines = zip(*(c.tolist() for c in columns), range(start, start + size), strict=True)
            file.write("".join(f"user-{u},{i},{t}\n" for u, i, t in lines))


@pytest.mark.parametrize(
    ("rows", "users", "most"),
    [
        (250_000, 5_000, 60),
        # All of it would take 170 MB of columns, and as much again of ids.
        pytest.param(10_000_000, 500_000, 120, marks=pytest.mark.campaign),
    ],
)
def test_memory_is_bounded(tmp_path: Path, rows: int, users: int, most: int) -> None:
    write_log(tmp_path, rows, users)
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr
    read, held, mebibytes = done.stdout.split()
    assert int(read) == rows
    assert 25_000 < int(held) <= 100_000
    # The columns of 100,000 rows are 1.7 MB; the rest is arrow's blocks and the ids of users.
    assert float(mebibytes) < most
