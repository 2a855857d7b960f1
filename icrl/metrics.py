"""The measures of exploration, as `icrl.metrics`: functions of one `Episodes`."""

from icrl.experiments.measures import (
    action_entropy,
    average_reward,
    best_at_end,
    coverage,
    first_pull_bias,
    greedy_frac,
    invalid_rate,
    label_mass,
    median_reward,
    min_frac,
    optimal_fraction,
    pseudo_regret,
    realised_regret,
    suffix_failure,
    suffix_failure_curve,
)

__all__ = [
    "action_entropy",
    "average_reward",
    "best_at_end",
    "coverage",
    "first_pull_bias",
    "greedy_frac",
    "invalid_rate",
    "label_mass",
    "median_reward",
    "min_frac",
    "optimal_fraction",
    "pseudo_regret",
    "realised_regret",
    "suffix_failure",
    "suffix_failure_curve",
]
