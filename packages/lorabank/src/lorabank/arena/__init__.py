"""A pool of adapters' weights: contiguous blocks in slots that are handed out and reclaimed."""

from lorabank.arena.arena import Arena, Group, UpdatedMany, in_order
from lorabank.arena.lease import Lease, lease_of

__all__ = ["Arena", "Group", "Lease", "UpdatedMany", "in_order", "lease_of"]
