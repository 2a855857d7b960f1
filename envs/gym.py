"""Any world as a Gymnasium environment, and every preset by name: `icrl/BernoulliHard-v0` is `bernoulli-hard`.

Importing this module registers them, and `import icrl` does so if Gymnasium was imported before:

    import gymnasium
    import icrl

    gymnasium.make("icrl/BernoulliHard-v0", horizon=50)
    gymnasium.make_vec("icrl/BernoulliHard-v0", num_envs=64)

Elsewhere the id may name the module: `gymnasium.make("icrl.envs.gym:icrl/BernoulliHard-v0")`.

Seed and episode index choose the luck as they do in `icrl.rollout`: the same choices are paid the same. An episode
ends by truncation, since its horizon is a time limit. Neither observations nor infos hold truth (means, gaps, best
arms), nor texts. Only this module and `envs/gym_vector.py` import Gymnasium.
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from icrl.envs.presets import PRESETS, make
from icrl.envs.spec import check_keys
from icrl.envs.types import AnyWorld, Bools, Ints, Public, View

LARGEST = float(np.finfo(np.float32).max)  # no bounds are known, and spaces without any are warned of
Info = dict[str, Any]


class BanditEnv(gymnasium.Env[Any, Any]):
    """One episode at a time.

    Actions are arms: `Discrete(K)`, or `MultiDiscrete([K, K])` in duels. An observation is the context of the step, or
    0 (`Discrete(1)`) where there is none. `info["action_mask"]` [K] says which arms are there; an action that names
    another forfeits the step: it pays 0, and `info["forfeited"]` is true.
    """

    def __init__(self, task: str | AnyWorld, **overrides: Any) -> None:
        """A world.

        Args:
            task: Name of a preset, or a world.
            **overrides: Fields of the preset to replace, e.g. `horizon=500`.

        Raises:
            ValueError: As `icrl.make`; or fields are given for a world, which has its own.
        """
        self._world = world_of(task, overrides)
        self.action_space, self.observation_space = spaces_of(self._world.public)
        self._seed, self._next = -1, 0  # no seed yet

    def reset(self, *, seed: int | None = None, options: Info | None = None) -> tuple[Any, Info]:
        """Begins an episode: number 0 of a new seed, else the next one of the same seed.

        Args:
            seed: Of the luck; None: as before, or drawn at the first reset.
            options: `{"episode": e}` begins episode e of the seed.

        Raises:
            ValueError: Another option is given, or e is no whole number from 0 on.
        """
        super().reset(seed=seed)
        self._seed, first = placed(seed, options, self._seed, self._next, self.np_random)
        self._state, self._next = self._world.start(np.array([first]), self._seed), first + 1
        self._over = False
        return self._seen()

    def step(self, action: Any) -> tuple[Any, float, bool, bool, Info]:
        """One choice.

        Raises:
            ValueError: The action is no arm.
            gymnasium.error.ResetNeeded: No episode has begun, or it is over.
        """
        arms = arms_of(self.action_space, action, self._seed).reshape(1, -1)
        if self._over:
            raise gymnasium.error.ResetNeeded("step: the episode is over; call reset to begin another")
        arm, lost = legal(arms, self._world.view(self._state))
        self._state, outcome, _ = self._world.step(self._state, arm)
        obs, info = self._seen()
        reward = 0.0 if lost[0] else float(outcome.reward[0])
        info["forfeited"] = bool(lost[0])
        self._over = bool(outcome.terminated[0] | outcome.truncated[0])
        return obs, reward, bool(outcome.terminated[0]), bool(outcome.truncated[0]), info

    def _seen(self) -> tuple[Any, Info]:
        view = self._world.view(self._state)
        return observed(view)[0], {"action_mask": view.legal[0].copy()}


def world_of(task: str | AnyWorld, overrides: Info) -> AnyWorld:
    """The world itself, or a preset with some of its fields replaced."""
    if isinstance(task, str):
        return make(task, **overrides)
    if overrides:
        raise ValueError(f"task: only a preset's fields can be replaced, got a world and {', '.join(overrides)}")
    return task


def spaces_of(public: Public) -> tuple[spaces.Space[Any], spaces.Space[Any]]:
    """The space of actions and that of observations."""
    k = public.n_arms
    actions = spaces.Discrete(k) if public.slots == 1 else spaces.MultiDiscrete([k] * public.slots)
    if not public.context_dim:
        return actions, spaces.Discrete(1)
    shape = (k, public.context_dim) if public.per_arm else (public.context_dim,)
    return actions, spaces.Box(-LARGEST, LARGEST, shape, np.float64)


def observed(view: View) -> Any:
    """The contexts, in an array of their own, since worlds keep theirs; else zeros."""
    return np.zeros(len(view.t), np.int64) if view.context is None else view.context.copy()


def placed(
    seed: int | None, options: Info | None, old: int, following: int, random: np.random.Generator
) -> tuple[int, int]:
    """The seed, and the index of the first episode, that a reset means; `old` is negative if there was none."""
    if not isinstance(options, dict | None):
        raise ValueError(f"options: must be a mapping, got {options!r}")
    check_keys(options or {}, ("episode",), "options")
    if new := seed is not None or old < 0:
        old = int(random.integers(2**31)) if seed is None else seed
    episode = (options or {}).get("episode", 0 if new else following)
    if not isinstance(episode, int | np.integer) or episode < 0:
        raise ValueError(f"options.episode: must be a whole number from 0 on, got {episode!r}")
    return old, int(episode)


def arms_of(space: spaces.Space[Any], action: Any, seed: int) -> Ints:
    """The action as integers."""
    if seed < 0:
        raise gymnasium.error.ResetNeeded("step: call reset first, to begin an episode")
    arms = np.asarray(action)
    if arms.dtype.kind not in "iu" or not space.contains(action):
        raise ValueError(f"action: must lie in {space}, got {action!r}")
    return arms.astype(np.int64)


def legal(arms: Ints, view: View) -> tuple[Ints, Bools]:
    """Arms [R, slots], -1 in all slots where one is missing, and in which rows [R] that is so."""
    lost = ~np.asarray(np.take_along_axis(view.legal, arms, axis=1).all(axis=1))
    return np.where(lost[:, None], -1, arms), lost


def name_of(preset: str) -> str:
    """The id of a preset: `icrl/BernoulliHard-v0` of `bernoulli-hard`."""
    return f"icrl/{''.join(part.capitalize() for part in preset.split('-'))}-v0"


for _preset in PRESETS:
    gymnasium.register(
        name_of(_preset),
        entry_point="icrl.envs.gym:BanditEnv",
        vector_entry_point="icrl.envs.gym_vector:BanditVectorEnv",
        kwargs={"task": _preset},
    )
