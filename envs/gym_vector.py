"""Any world as a vector environment of Gymnasium: a batch of rows is what worlds play anyway.

`gymnasium.make_vec` finds it by the ids of `envs/gym.py`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from icrl.envs.gym import Info, arms_of, legal, observed, placed, spaces_of, world_of
from icrl.envs.types import AnyWorld, Bools, Floats, Ints, put, take


class BanditVectorEnv(VectorEnv[Any, Any, Any]):
    """Many episodes at once, one `step` of the world for all.

    With a new seed, rows begin with episodes 0 to N - 1. A row that has ended ignores its next action and begins the
    next episode that no row has had (`AutoresetMode.NEXT_STEP`). Actions, observations and infos are those of
    `BanditEnv`, stacked.
    """

    def __init__(self, task: str | AnyWorld, num_envs: int = 1, **overrides: Any) -> None:
        """As `BanditEnv`, of `num_envs` rows."""
        if not isinstance(num_envs, int) or num_envs < 1:
            raise ValueError(f"num_envs: must be a whole number of at least 1, got {num_envs!r}")
        self.metadata = {"render_modes": [], "autoreset_mode": AutoresetMode.NEXT_STEP}
        self._world = world_of(task, overrides)
        self.num_envs = num_envs
        self.single_action_space, self.single_observation_space = spaces_of(self._world.public)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self._seed, self._next = -1, 0

    def reset(self, *, seed: int | None = None, options: Info | None = None) -> tuple[Any, Info]:
        """Begins N episodes: from number 0 on of a new seed, else the next ones of the same seed.

        Args:
            seed: Of the luck; None: as before, or drawn at the first reset.
            options: `{"episode": e}` begins episodes e to e + N - 1 of the seed.

        Raises:
            ValueError: Another option is given, or e is no whole number from 0 on.
        """
        super().reset(seed=seed)
        self._seed, self._next = placed(seed, options, self._seed, self._next, self.np_random)
        self._state = self._world.start(self._following(self.num_envs), self._seed)
        self._over = np.zeros(self.num_envs, np.bool_)
        return self._seen()

    def step(self, actions: Any) -> tuple[Any, Floats, Bools, Bools, Info]:
        """One choice per row; those that ended at the step before begin anew instead.

        Raises:
            ValueError: An action is no arm.
        """
        arms = arms_of(self.action_space, actions, self._seed).reshape(self.num_envs, -1)
        live, ended = np.flatnonzero(~self._over), np.flatnonzero(self._over)
        reward, flags = np.zeros(self.num_envs), np.zeros((3, self.num_envs), np.bool_)
        if len(live):
            state = take(self._state, live) if len(ended) else self._state
            arm, lost = legal(arms[live], self._world.view(state))
            state, outcome, _ = self._world.step(state, arm)
            reward[live] = np.where(lost, 0.0, outcome.reward)
            flags[:, live] = outcome.terminated, outcome.truncated, lost
            if len(ended):
                put(self._state, live, state)
            else:
                self._state = state
        if len(ended):
            put(self._state, ended, self._world.start(self._following(len(ended)), self._seed))
        terminated, truncated, forfeited = flags
        played, self._over = ~self._over, terminated | truncated
        obs, info = self._seen()
        return obs, reward, terminated, truncated, info | {"forfeited": forfeited, "_forfeited": played}

    def _following(self, rows: int) -> Ints:
        """The next episode indices."""
        self._next += rows
        return np.arange(self._next - rows, self._next)

    def _seen(self) -> tuple[Any, Info]:
        view = self._world.view(self._state)
        return observed(view), {
            "action_mask": view.legal.copy(),
            "_action_mask": np.ones(self.num_envs, np.bool_),
        }
