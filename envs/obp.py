"""Episodes as the feedback dictionary of the Open Bandit Pipeline."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from icrl.envs.episodes import Episodes


def feedback(runs: Episodes) -> dict[str, Any]:
    """See `Episodes.to_obp`."""
    if runs.arms.ndim != 2:
        raise ValueError(f"arms: one arm per step is needed, this task chooses {runs.public.slots} at once")
    if runs.probs is None:
        raise ValueError("probs: the probabilities of the log are needed, the run does not have them")
    b, t = np.nonzero((np.arange(runs.horizon) < runs.lengths[:, None]) & (runs.arms >= 0))
    action = runs.arms[b, t]
    return {
        "n_rounds": len(b),
        "n_actions": runs.public.n_arms,
        "context": np.ones((len(b), 1)) if runs.context is None else runs.context[b, t].reshape(len(b), -1),
        "action": action,
        "position": np.zeros(len(b), np.int64),
        "reward": runs.rewards[b, t],
        "expected_reward": None if runs.means is None else runs.means[b],
        "pscore": runs.probs[b, t, action],
    }
