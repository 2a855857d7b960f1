"""Stores, measures, statistics and reports; names in YAML become objects here."""

from icrl.experiments.compare import compare
from icrl.experiments.config import Experiment
from icrl.experiments.runner import load, run
from icrl.experiments.tokens import BudgetSpent

__all__ = ["BudgetSpent", "Experiment", "compare", "load", "run"]
