"""What is learned from many users and shared: adapters, item residuals, neighbours, experts."""

from lorabank.population.fitting import fit_population
from lorabank.population.model import Expert, Population, SharedAdapter
from lorabank.population.neighbours import ItemToItem
from lorabank.population.recent import recent_likes
from lorabank.population.recorder import OnPopulationProgress
from lorabank.population.report import ExpertReport, PopulationProgress, PopulationReport
from lorabank.population.residuals import Residuals
from lorabank.population.rows import Rows, collect_rows
from lorabank.population.scoring import PopulationScorer
from lorabank.population.transitions import Transitions

__all__ = [
    "Expert",
    "ExpertReport",
    "ItemToItem",
    "OnPopulationProgress",
    "Population",
    "PopulationProgress",
    "PopulationReport",
    "PopulationScorer",
    "Residuals",
    "Rows",
    "SharedAdapter",
    "Transitions",
    "collect_rows",
    "fit_population",
    "recent_likes",
]
