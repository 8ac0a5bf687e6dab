"""Opening banks, and the standard bank over any pattern store."""

from lorabank.bank.discovery import BackendInfo, list_backends
from lorabank.bank.embedders import LexicalHashingEmbedder
from lorabank.bank.open import open_bank
from lorabank.bank.standard import StandardBank

__all__ = [
    "BackendInfo",
    "LexicalHashingEmbedder",
    "StandardBank",
    "list_backends",
    "open_bank",
]
