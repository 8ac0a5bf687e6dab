"""The facade that most applications want: adapters kept, ordered, cached and durable."""

from lorabank.personalizer.many import ManyUpdates
from lorabank.personalizer.personalizer import Personalizer
from lorabank.personalizer.ranking import Ranked
from lorabank.personalizer.receipt import ForgetReceipt
from lorabank.personalizer.selection import Selection

__all__ = ["ForgetReceipt", "ManyUpdates", "Personalizer", "Ranked", "Selection"]
