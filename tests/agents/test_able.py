"""Who can play what, and what is said to those who cannot."""

import numpy as np
import pytest

from icrl.agents import ALGORITHMS, LLMAgent, Mixture, TryAll, rollout
from icrl.envs import PRESETS, Bandit, Choice, Public, UniformMeans, make

TASKS = {name: task for name, (task, _) in PRESETS.items()} | {
    "two": Bandit(n_arms=2, horizon=50, means=UniformMeans()),
    "long": Bandit(n_arms=2, horizon=5000, means=UniformMeans()),
}
BERNOULLI = {"EXP3", "Gittins"}
NOISE = {"KLUCB", "MOSS", "ThompsonSampling", "MostLikelyBest", "DiscountedThompson"}  # around a mean, not a function
REFUSED = {  # by task, what cannot play it; all else can
    "bernoulli-hard": {"BayesOptimal", "LinUCB", "LinThompsonSampling", "SuccessiveHalving", "TopTwoThompson"},
    "two": {"LinUCB", "LinThompsonSampling", "SuccessiveHalving", "TopTwoThompson"},
    "long": {"BayesOptimal", "LinUCB", "LinThompsonSampling", "SuccessiveHalving", "TopTwoThompson"},
    "linear": {"BayesOptimal", "SuccessiveHalving", "TopTwoThompson", *BERNOULLI, *NOISE},
    "lin-bai-mei": {"BayesOptimal", "SuccessiveHalving", "TopTwoThompson", *BERNOULLI, *NOISE},
    "contexts": {"BayesOptimal", "SuccessiveHalving", "TopTwoThompson"},
    "sleeping": {"BayesOptimal", "LinUCB", "LinThompsonSampling", "SuccessiveHalving", "TopTwoThompson"},
    "best-arm": {"BayesOptimal", "LinUCB", "LinThompsonSampling"},
    "dueling": set(ALGORITHMS) - {"RUCB", "DoubleThompson"},
}


@pytest.mark.parametrize("task", REFUSED)
def test_who_can_play_what(task):
    public = TASKS[task].public
    duels = set() if public.slots == 2 else {"RUCB", "DoubleThompson"}
    refused = {name for name, algorithm in ALGORITHMS.items() if algorithm().refuses(public)}
    assert refused == REFUSED[task] | duels


@pytest.mark.parametrize("name", ALGORITHMS)
def test_what_is_refused_names_those_who_can(name):
    refusals = 0
    for task in TASKS.values():
        agent = ALGORITHMS[name]()
        if agent.refuses(task.public) is None:
            agent.check(task.public)
            continue
        refusals += 1
        with pytest.raises(ValueError, match=rf"^agent: {name} cannot play this task: .*; these can: \w+") as error:
            agent.check(task.public)
        named = str(error.value).split("these can: ")[1].split(", ")
        assert name not in named
        assert all(ALGORITHMS[n]().refuses(task.public) is None for n in named)
    assert refusals, "each algorithm refuses something: duels, or all that are none"


@pytest.mark.parametrize("public", [Public("other", 3, 8, "bernoulli"), Public("dueling", 3, 8, "bernoulli", slots=3)])
def test_a_model_says_what_prompts_cannot_tell(public, fakes, tokenizer):
    agent = LLMAgent(fakes.FakeModel(tokenizer))
    for player in (agent, TryAll(agent), Mixture(ALGORITHMS["UCB"](), agent)):
        with pytest.raises(ValueError, match="; (these can: |no algorithm can)"):
            player.check(public)


class Wrong:
    """Plays arm 0, be it there or not."""

    block = None

    def check(self, public): ...

    def names(self, public, episodes, seed):
        return None

    def start(self, public, names, episodes, seed):
        return episodes

    def act(self, state, view):
        return state, Choice(np.zeros((len(view.t), 1), np.int64))

    def update(self, state, view, choice, outcome):
        return state

    def take(self, state, rows):
        return state[rows]


def test_an_arm_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match=r"episode \d+, step \d+: arm \[0\] is not there, but \["):
        rollout(Wrong(), make("sleeping"), episodes=16)
