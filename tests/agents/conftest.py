"""What tests of algorithms share: states after steps that the test wrote down, or that were played."""

from dataclasses import fields, replace

import numpy as np
import pytest

from icrl.agents.dice import Dice
from icrl.envs import Choice, Outcome, Public, View


def _fold(agent, public, arms, rewards, *, rows=256, legal=None, contexts=None, acts=False):
    """(state, view) of `agent` after steps in which all rows, or each its own, played `arms` for `rewards`.

    Entries of `arms` and `rewards` are numbers, or arrays over rows; of `contexts`, arrays [R, ...], one more than
    there are steps. With `acts` the agent is asked for its choice before each step, as in play.
    """
    episodes, none = np.arange(rows), np.zeros(rows, np.bool_)
    legal = np.ones((rows, public.n_arms), np.bool_) if legal is None else np.tile(legal, (rows, 1))

    def view(t):
        at = np.full(rows, t)
        return View(episodes, at, np.zeros_like(at), legal, None if contexts is None else contexts[t])

    state = agent.start(public, None, episodes, 0)
    for t, (arm, reward) in enumerate(zip(arms, rewards, strict=True)):
        if acts:
            state, _ = agent.act(state, view(t))
        arm = np.broadcast_to(np.reshape(arm, (-1, public.slots)), (rows, public.slots))
        paid = np.where(arm[:, 0] < 0, np.nan, np.broadcast_to(reward, rows).astype(np.float64))
        state = agent.update(state, view(t), Choice(arm.astype(np.int64)), Outcome(paid, none, none))
    return state, view(len(arms))


@pytest.fixture(scope="session")
def fold():
    return _fold


@pytest.fixture(scope="session")
def seen():
    """(state, view) after each arm k paid `rewards[k]` in all rows."""

    def seen(agent, rewards, rows=256, reward="bernoulli", sd=None, legal=None, horizon=1000):
        public = Public("bandit", len(rewards), horizon, reward, sd)
        arms = [arm for arm, paid in enumerate(rewards) for _ in paid]
        return _fold(agent, public, arms, [r for paid in rewards for r in paid], rows=rows, legal=legal)

    return seen


@pytest.fixture(scope="session")
def midway():
    """(state, view) of `agent` after it has played some steps of a task, 256 rows."""

    def midway(agent, task, steps, seed=0):
        agent.check(task.public)
        inside = task.start(np.arange(256), seed)
        state = agent.start(task.public, None, np.arange(256), seed)
        for _ in range(steps):
            view = task.view(inside)
            state, choice = agent.act(state, view)
            inside, outcome, _ = task.step(inside, choice.arm)
            state = agent.update(state, view, choice, outcome)
        return state, task.view(inside)

    return midway


@pytest.fixture(scope="session")
def copies():
    """Some rows of a state and its view, each `n` times in turn, with other dice."""

    def copies(agent, state, view, rows, n):
        at = np.repeat(rows, n)

        def of(value):
            return {f.name: v[at] for f in fields(value) if isinstance(v := getattr(value, f.name), np.ndarray)}

        dice = Dice.of(agent, np.arange(len(at)), 7)
        return replace(state, **of(state), dice=dice), replace(view, **of(view))

    return copies
