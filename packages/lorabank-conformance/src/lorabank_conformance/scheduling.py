"""How long threads of this process were ready to run and waited for a processor.

Only Linux tells (``/proc/self/task/*/schedstat``); elsewhere nothing is known of it, and 0 is said.
"""

from __future__ import annotations

from pathlib import Path

TASKS = Path("/proc/self/task")
NANO = 1e-9


def waits_for_a_processor() -> dict[str, float]:
    """Seconds of each living thread since it began, by thread."""
    found = {}
    for task in TASKS.iterdir() if TASKS.is_dir() else ():
        try:
            _, waited, _ = (task / "schedstat").read_bytes().split()
        except (OSError, ValueError):
            continue  # it has ended meanwhile, or this kernel does not tell
        found[task.name] = NANO * int(waited)
    return found


def waited_since(before: dict[str, float]) -> float:
    """Seconds by which `waits_for_a_processor` has grown, in all."""
    now = waits_for_a_processor()
    return sum(waited - before.get(task, 0.0) for task, waited in now.items())
