"""``lorabank`` and ``python -m lorabank``."""

from __future__ import annotations

import sys

NEEDED = ("click", "rich")


def main() -> int:
    """Run the command line; without its extra, say what to install."""
    try:
        from lorabank.cli import command
    except ModuleNotFoundError as exc:
        if (exc.name or "").partition(".")[0] not in NEEDED:
            raise
        print(  # noqa: T201
            "lorabank: the command line needs its extra: pip install 'lorabank[cli]'",
            file=sys.stderr,
        )
        return 2
    return command.run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
