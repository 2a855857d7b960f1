"""Stores, measures, statistics and reports; names in YAML become objects here."""

from icrl.experiments.compare import compare
from icrl.experiments.config import Experiment
from icrl.experiments.runner import load, run

__all__ = ["Experiment", "compare", "load", "run"]
