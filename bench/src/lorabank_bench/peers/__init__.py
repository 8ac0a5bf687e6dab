"""The libraries that lorabank is compared with, as far as they are installed."""

from lorabank_bench.peers.found import Peers, found_peers

__all__ = ["Peers", "found_peers"]
