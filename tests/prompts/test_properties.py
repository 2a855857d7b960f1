"""What holds for all prompts: names are only names, numbers are those of the history, and what is told stays told."""

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from icrl.agents import ALGORITHMS, UCB, LinThompsonSampling, LLMAgent, ThompsonSampling, Uniform, replay, rollout
from icrl.envs import ActionSets, Bandit, Bernoulli, Episodes, Gaussian, Public, UniformMeans, make
from icrl.prompts import Demonstrations, Hints, Positive, Prompt, Raw, Stochastic, Summary, Window, scenarios

ARMS, WORDS = ("«0»", "«1»", "«2»"), ("cap", "tie", "elm")
NOISE = {"bernoulli": Bernoulli(), "gaussian": Gaussian()}
DEMOS = {
    family: rollout(Uniform(), Bandit(n_arms=3, horizon=5, means=UniformMeans(), noise=noise), episodes=4, seed=9)
    for family, noise in NOISE.items()
}
HISTORIES = (Raw(), Positive(), Window(last=3, first=1), Stochastic(keep=0.5), Summary(spread=True, last=2))
SHOWN = (("numbers",), ("ranking", "arm"), ("numbers", "ranking", "arm"))
families = st.sampled_from(sorted(NOISE))


def can_name(words):
    """What a prompt does not refuse, and is no mark of the tokenizer."""
    try:
        return Prompt(labels=words) is not None and "<" not in "".join(words)
    except ValueError:
        return False


labels = st.tuples(*[st.text(min_size=1, max_size=6)] * 3).filter(can_name)


@st.composite
def games(draw, family):
    """A game of three arms as it may have been played; some steps were forfeited."""
    paid = st.sampled_from([0.0, 1.0]) if family == "bernoulli" else st.floats(-1e4, 1e4) | st.floats(-0.01, 0.01)
    steps = draw(st.lists(st.tuples(st.integers(-1, 2), paid), min_size=1, max_size=12))
    arms, rewards = (np.array([column]) for column in zip(*steps, strict=True))
    return Episodes(
        task="",
        agent="",
        seed=draw(st.integers(0, 3)),
        public=Public("bandit", 3, len(steps), family, 1.0 if family == "gaussian" else None),
        episode=np.array([draw(st.integers(0, 99))]),
        arms=arms,
        rewards=np.where(arms < 0, np.nan, rewards),
        gap=np.zeros(arms.shape),
        lengths=np.array([len(steps)]),
    )


def prompts(hints, demonstrations=()):
    """Prompts of all kinds whose answers are labels."""
    return st.builds(
        Prompt,
        st.sampled_from(HISTORIES),
        st.sampled_from(sorted(scenarios())),
        st.sampled_from(["turns", "log"]),
        instructions=st.sampled_from(["bare", "advice"]),
        horizon=st.sampled_from(["hidden", "told"]),
        demonstrations=st.sampled_from([None, *demonstrations]),
        hints=st.none() | hints,
    )


def advice(*advisers, show=SHOWN, control=("none",)):
    return st.builds(Hints, st.sampled_from(advisers), st.sampled_from(show), st.sampled_from(control))


@given(families.flatmap(lambda f: st.tuples(games(f), prompts(advice(UCB(), ThompsonSampling()), [DEMOS[f]]))), labels)
def test_renaming_arms_changes_names_only(retold, told, names):
    game, prompt = told
    _, plain = retold(prompt, game, (ARMS,))
    _, found = retold(prompt, game, (names,))
    assert found == [re.sub("«(.)»", lambda arm: names[int(arm[1])], text) for text in plain]


def permuted(game, order):
    """The same game, in which arm k is what was arm order[k]."""
    return replace(game, arms=np.where(game.arms < 0, -1, np.argsort(order)[game.arms]))


def without_order(text, summary):
    """A text whose lists of arms are sorted: labels, hints, and the lines of a summary."""
    arm = rf"(?:{'|'.join(WORDS)})"
    for line in (arm, rf"{arm}: [^<\n]*", *([rf".*\({arm}\)"] if summary else ())):
        text = re.sub(rf"^{line}(\n{line}){{2}}", lambda all_: "\n".join(sorted(all_[0].split("\n"))), text, flags=re.M)
    return text


@given(
    families.flatmap(lambda f: st.tuples(st.just(f), games(f))),
    prompts(advice(UCB(), ThompsonSampling(), show=SHOWN[:1])),
    st.permutations(range(3)),
    st.booleans(),
)
def test_permuting_arms_permutes_lists_only(retold, told, prompt, order, demos):
    family, game = told
    texts = []
    for way in ([0, 1, 2], order):
        shown = permuted(DEMOS[family], way) if demos else None
        _, found = retold(
            replace(prompt, demonstrations=shown), permuted(game, way), (tuple(WORDS[arm] for arm in way),)
        )
        texts.append([without_order(text, isinstance(prompt.history, Summary)) for text in found])
    assert texts[0] == texts[1]


def rounded(text, value, digits):
    """Whether `text` is `value` with so many digits, and no zero is negative."""
    shape = r"-?\d+" + (rf"\.\d{{{digits}}}" if digits else "")
    near = 0.5 * 10**-digits + 1e-9 * max(1, abs(value))  # sums in another order end in another last bit
    return re.fullmatch(shape, text) and abs(float(text) - value) <= near and not re.fullmatch(r"-[0.]*", text)


@given(
    families.flatmap(games),
    st.builds(Summary, spread=st.booleans(), last=st.integers(0, 3), decimals=st.none() | st.integers(0, 6)),
    st.sampled_from(sorted(scenarios())),
    st.sampled_from(["turns", "log"]),
)
def test_a_summary_equals_recomputed_statistics(retold, game, history, story, layout):
    prompt = Prompt(history, story, layout)
    tried, untried = (prompt.story.texts[name].strip() for name in ("tried", "untried"))
    digits = 2 if history.decimals is None else history.decimals
    single = 0 if history.decimals is None and game.public.reward == "bernoulli" else digits
    numbers = "(?P<mean>.+?)" + ", spread (?P<spread>.+?)" * history.spread
    numbers += ", last (?P<last>.+?)" * (history.last > 0)
    line = re.escape(tried).replace(r"\{mean\}", numbers).replace(r"\{pulls\}", r"(?P<pulls>\d+)")
    _, told = retold(prompt, game, (WORDS,))
    for t, text in enumerate(told):
        for arm, name in enumerate(WORDS):
            paid = game.rewards[0, :t][game.arms[0, :t] == arm]
            if not len(paid):
                assert untried.replace("{label}", name) in text.splitlines()
                continue
            found = re.search(f"^{line}$".replace(r"\{label\}", name), text, re.M)
            assert int(found["pulls"]) == len(paid) and rounded(found["mean"], paid.mean(), digits)
            assert not history.spread or rounded(found["spread"], paid.std(), digits)
            last = found["last"].split() if history.last else []
            assert len(last) == min(history.last, len(paid))
            assert all(rounded(x, y, single) for x, y in zip(last, paid[len(paid) - len(last) :], strict=True))


def asked(model):
    """All that a model was asked, in order."""
    return [[(q.key, q.seed, q.ids.tolist(), q.choices) for q in queries] for queries in model.asked]


def advisers(family):
    """All algorithms that can play such a task."""
    public = Bandit(n_arms=3, horizon=8, means=UniformMeans(), noise=NOISE[family]).public
    return [algorithm() for algorithm in ALGORITHMS.values() if algorithm().refuses(public) is None]


@pytest.fixture(scope="module")
def worlds(fakes):
    """Of each family of rewards, two tasks that differ in their truth only, each with games of a teacher."""
    means = (UniformMeans(), UniformMeans(low=0.4, high=0.5))
    pairs = {f: [fakes.Table(n_arms=3, horizon=8, means=m, noise=noise) for m in means] for f, noise in NOISE.items()}
    return {f: [(task, rollout(UCB(), task, episodes=4, seed=101)) for task in pair] for f, pair in pairs.items()}


@given(
    families.flatmap(
        lambda f: st.tuples(st.just(f), prompts(advice(*advisers(f), control=("none", "permuted", "random"))))
    ),
    st.sampled_from(["random", "similar", None]),
    st.integers(0, 99),
)
def test_no_number_comes_from_the_truth(fakes, letters, worlds, told, choose, seed):
    """Equal rewards, other means: equal prompts. Demonstrations chosen by regret know the truth, as they say."""
    family, prompt = told
    known, means = [], []
    for task, games in worlds[family]:
        shown = Demonstrations(games, 2, choose) if choose else None
        model = fakes.FakeModel(letters)
        agent = LLMAgent(model, replace(prompt, demonstrations=shown))
        means.append(rollout(agent, task, episodes=2, seed=seed).means)
        known.append(asked(model))
    assert known[0] == known[1] and not np.allclose(*means)


COINS = Bandit(n_arms=5, horizon=8, means=UniformMeans())
TASKS = {
    "numbers": COINS.model_copy(update={"noise": Gaussian()}),
    "present": ActionSets(n_arms=5, horizon=8, means=UniformMeans(), present=0.6),
    "contexts": make("linear", n_arms=5, horizon=8),
}


@given(
    st.sampled_from(["ending", *TASKS]),
    prompts(advice(UCB(), ThompsonSampling(), control=("none", "random"))),
    st.sampled_from(["direct", "free", "distribution"]),
    st.sampled_from(["retry", "resample", "forfeit"]),
    st.integers(0, 99),
)
def test_what_was_told_is_told_again(fakes, letters, tmp_path_factory, kind, prompt, answer, on_failure, seed):
    """Folded from a file, an agent reads what it read in play, token for token, and more than the text of an answer."""
    task = TASKS.get(kind) or fakes.Ending(**COINS.model_dump())
    prompt = replace(prompt, labels=fakes.FIVE, answer=answer, on_failure=on_failure)
    if kind == "contexts":
        assume(not isinstance(prompt.history, Summary))
        prompt = replace(prompt, hints=prompt.hints and replace(prompt.hints, adviser=LinThompsonSampling()))
    scripts = {"free": fakes.by_hash, "distribution": fakes.shares_by_hash}
    models = [fakes.FakeModel(letters) for _ in range(2)]
    if answer in scripts:
        models = [fakes.Writing(letters, script=lambda query: f"{scripts[answer](query)}\n") for _ in range(2)]
    live, again = models
    runs = rollout(LLMAgent(live, prompt), task, episodes=4, seed=seed)
    saved = runs.save(tmp_path_factory.getbasetemp() / "played")
    list(replay(LLMAgent(again, prompt), Episodes.load(saved)))
    assert asked(again) == asked(live)
