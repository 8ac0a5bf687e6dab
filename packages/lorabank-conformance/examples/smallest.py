"""Some laws of the memory backend, from the command line and in this process."""

import sys

import pytest

from lorabank_conformance import PatternStoreConformance, laws_of

command = ["--pyargs", "lorabank_conformance", "--bank", "memory://", "-q", "-k", "search or skill"]
assert pytest.main([*command, "-p", "no:cacheprovider"]) == 0
sys.stdout.write(f"{len(laws_of(PatternStoreConformance))} laws of a pattern store\n")
