"""The exact prompts, as files: a change of wording must be seen. ICRL_WRITE_GOLDEN=1 writes them anew."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from icrl.agents import UCB, LinUCB, LLMAgent, ThompsonSampling, replay, rollout
from icrl.agents.rollout import play
from icrl.envs import ActionSets, Bandit, BestArm, Fixed, Gaussian, Linear, Switching, UniformMeans
from icrl.prompts import Demonstrations, Hints, Prompt, Raw, Stochastic, Summary, Window, scenarios

GOLDEN = Path(__file__).parent / "golden"
WORDS = ("cap", "tie", "elm")
MEANS = Fixed(values=(0.9, 0.5, 0.1))
TASKS = {
    "": Bandit(n_arms=3, horizon=4, means=MEANS),
    "-gaussian": Bandit(n_arms=3, horizon=4, means=MEANS, noise=Gaussian()),
}
CASES = [
    (story, history, layout, "")
    for story in ("buttons", "slots", "clothes", "ads")
    for history in ("raw", "summary")
    for layout in ("turns", "log")
]
CASES += [("buttons", "raw", "turns", "-gaussian"), ("buttons", "summary", "log", "-gaussian")]
LINES = Linear(n_arms=3, horizon=4, dim=2)
TOGETHER = {
    "window-hints": (TASKS[""], Prompt(Window(last=1, first=1), "slots", hints=UCB(c=1.0))),
    "stochastic-ranking": (
        TASKS[""],
        Prompt(Stochastic(keep=0.5), "ads", "log", hints=Hints(UCB(), ("ranking", "arm"))),
    ),
    "positive-told-horizon": (TASKS[""], Prompt("positive", "clothes", horizon="told", instructions="advice")),
    "spread-words": (TASKS[""], Prompt(Summary(spread=True, last=2, rewards="words"), system="You are careful.")),
    "interval-log": (TASKS["-gaussian"], Prompt(layout="log", hints=ThompsonSampling())),
    "contexts-turns": (LINES, Prompt(scenario="ads", hints=LinUCB())),
    "contexts-log": (LINES, Prompt(scenario="clothes", layout="log", answer="distribution")),
    "features": (LINES.model_copy(update={"shared": True}), Prompt(scenario="slots")),
    "present": (ActionSets(n_arms=3, horizon=4, means=UniformMeans(), present=0.6), Prompt(instructions="advice")),
    "moving": (Switching(n_arms=3, horizon=4, changes=1, means=UniformMeans()), Prompt(Raw(decimals=1), "ads", "log")),
    "best-arm": (BestArm(n_arms=3, horizon=4, means=UniformMeans()), Prompt("summary", "slots", layout="log")),
    "games-turns": (TASKS[""], Prompt(scenario="slots"), 2),
    "games-log-hints": (TASKS[""], Prompt(layout="log", hints=UCB()), 1),
    "games-summary": (TASKS[""], Prompt("summary", "ads", answer="distribution"), 1),
    "games-contexts": (LINES, Prompt(scenario="clothes"), 1),
}


def played(task, seed=0):
    """The second episode, whose arms are scripted; where some may be missing, the first one there."""
    state, arms = task.start(np.array([1]), seed), []
    for t in range(task.horizon):
        there = np.flatnonzero(task.view(state).legal[0])
        arms.append((0, 1, 0, 2)[t] if (0, 1, 0, 2)[t] in there else int(there[0]))
        state, _, _ = task.step(state, np.array([[arms[-1]]]))
    return arms


def written(task, prompt, fakes, tokenizer, games=0):
    """The first and the last prompt of a scripted game."""
    if games:
        demos = rollout(fakes.Scripted([[2, 1, 1, 0], [0, 0, 1, 2], [1, 2, 0, 0]]), task, episodes=3, seed=9)
        prompt = replace(prompt, demonstrations=Demonstrations(demos, games))
    model = (
        fakes.FakeModel(tokenizer)
        if prompt.answer == "direct"
        else fakes.Writing(tokenizer, script=lambda query: "elm: 1")
    )
    runs = rollout(fakes.Scripted([[0, 0, 0, 0], played(task)]), task, episodes=[1])
    prompt = replace(prompt, labels=WORDS)
    list(replay(LLMAgent(model, prompt), replace(runs, names=prompt.names(task.public, runs.episode, 0))))
    return [tokenizer.decode(model.asked[t][0].ids) for t in (0, 3)]


def test_all_scenarios_have_golden_prompts():
    assert set(scenarios()) == {story for story, *_ in CASES}


@pytest.mark.parametrize(("story", "history", "layout", "noise"), CASES, ids=lambda v: v)
def test_prompts_are_those_of_the_files(story, history, layout, noise, fakes, tokenizer):
    first, fourth = written(TASKS[noise], Prompt(history, story, layout, labels=WORDS), fakes, tokenizer)
    found = f"==== t=0\n{first}\n==== t=3\n{fourth}\n"
    file = GOLDEN / f"{story}-{history}-{layout}{noise}.txt"
    if os.environ.get("ICRL_WRITE_GOLDEN"):
        file.parent.mkdir(exist_ok=True)
        file.write_text(found, encoding="utf-8")
    assert found == file.read_text(encoding="utf-8")


@pytest.mark.parametrize("case", TOGETHER)
def test_what_composes(case, fakes, tokenizer):
    task, prompt, *games = TOGETHER[case]
    found = f"==== t=3\n{written(task, prompt, fakes, tokenizer, *games)[1]}\n"
    file = GOLDEN / f"{case}.txt"
    if os.environ.get("ICRL_WRITE_GOLDEN"):
        file.write_text(found, encoding="utf-8")
    assert found == file.read_text(encoding="utf-8")


@pytest.mark.parametrize("answer", ["retry", "forfeit"])
@pytest.mark.parametrize("layout", ["turns", "log"])
def test_prompts_with_an_unreadable_answer(answer, layout, fakes, tokenizer):
    texts = iter(["cap", "hm?", "hm?", "tie", "elm"] if answer == "retry" else ["cap", "hm?", "tie", "elm"])
    model = fakes.Writing(tokenizer, script=lambda query: next(texts))
    prompt = Prompt("raw", "buttons", layout, "free", WORDS, on_failure=answer, retries=1)
    list(play(LLMAgent(model, prompt), TASKS[""], np.array([1]), 0))
    found = tokenizer.decode(model.asked[-1][0].ids) + "\n"
    file = GOLDEN / f"lost-{answer}-{layout}.txt"
    if os.environ.get("ICRL_WRITE_GOLDEN"):
        file.write_text(found, encoding="utf-8")
    assert found == file.read_text(encoding="utf-8")


def test_no_golden_file_is_left_over():
    kept = {f"{s}-{h}-{y}{n}.txt" for s, h, y, n in CASES}
    kept |= {f"{case}.txt" for case in TOGETHER}
    kept |= {f"lost-{a}-{y}.txt" for a in ("retry", "forfeit") for y in ("turns", "log")}
    assert {file.name for file in GOLDEN.iterdir()} == kept
