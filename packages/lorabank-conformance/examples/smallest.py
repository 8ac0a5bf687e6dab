"""Some laws of the memory backend, proved as from the command line."""

import pytest

command = ["--pyargs", "lorabank_conformance", "--bank", "memory://", "-q", "-k", "search or skill"]
assert pytest.main([*command, "-p", "no:cacheprovider"]) == 0
