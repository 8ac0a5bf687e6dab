"""Reading a log: interactions and a catalogue, from files or by a built-in name."""

from lorabank.evaluation.sources.builtin import BUILTIN
from lorabank.evaluation.sources.load import load_dataset
from lorabank.evaluation.sources.table import Dataset, Reading, SourceUnavailableError

__all__ = ["BUILTIN", "Dataset", "Reading", "SourceUnavailableError", "load_dataset"]
