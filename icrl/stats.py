"""The statistics of comparisons, as `icrl.stats`: functions of one or several `Episodes`."""

from icrl.experiments.bootstrap import bands
from icrl.experiments.compare import compare
from icrl.experiments.growth import growth_exponent
from icrl.experiments.lower_bound import lai_robbins, lai_robbins_line
from icrl.experiments.offpolicy import off_policy
from icrl.experiments.paired import equivalence, failure_test, holm, paired_difference
from icrl.experiments.regret_fit import regret_fit
from icrl.experiments.sequential import confidence_sequence
from icrl.experiments.winrate import win_rates

__all__ = [
    "bands",
    "compare",
    "confidence_sequence",
    "equivalence",
    "failure_test",
    "growth_exponent",
    "holm",
    "lai_robbins",
    "lai_robbins_line",
    "off_policy",
    "paired_difference",
    "regret_fit",
    "win_rates",
]
