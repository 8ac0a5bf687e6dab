"""How long threads of this process were ready to run and waited for a processor.

Only Linux tells (``/proc/self/task/*/schedstat``); elsewhere nothing is known of it, and 0 is said.
"""

from __future__ import annotations

from pathlib import Path
from threading import get_native_id

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
    """Seconds for which the calling thread may have stood still for want of a processor since then.

    Its own waits, and the longest of another thread's: one that holds the interpreter's lock, as
    only one can, keeps everybody waiting while it waits itself.
    """
    own = str(get_native_id())
    waits = {task: t - before.get(task, 0.0) for task, t in waits_for_a_processor().items()}
    return waits.pop(own, 0.0) + max(waits.values(), default=0.0)
