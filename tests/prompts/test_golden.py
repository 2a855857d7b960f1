"""The exact prompts, as files: a change of wording must be seen. ICRL_WRITE_GOLDEN=1 writes them anew."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from icrl.agents import LLMAgent, replay, rollout
from icrl.agents.rollout import play
from icrl.envs import Bandit, Fixed, Gaussian
from icrl.prompts import Prompt, scenarios

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


def test_all_scenarios_have_golden_prompts():
    assert set(scenarios()) == {story for story, *_ in CASES}


@pytest.mark.parametrize(("story", "history", "layout", "noise"), CASES, ids=lambda v: v)
def test_prompts_are_those_of_the_files(story, history, layout, noise, fakes, tokenizer):
    model, prompt, task = fakes.FakeModel(tokenizer), Prompt(history, story, layout, labels=WORDS), TASKS[noise]
    runs = rollout(fakes.Scripted([[0, 0, 0, 0], [0, 1, 0, 2]]), task, episodes=[1])
    named = replace(runs, names=prompt.names(task.public, runs.episode, 0))
    list(replay(LLMAgent(model, prompt), named))
    first, fourth = (tokenizer.decode(model.asked[t][0].ids) for t in (0, 3))
    found = f"==== t=0\n{first}\n==== t=3\n{fourth}\n"
    file = GOLDEN / f"{story}-{history}-{layout}{noise}.txt"
    if os.environ.get("ICRL_WRITE_GOLDEN"):
        file.parent.mkdir(exist_ok=True)
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
    kept |= {f"lost-{a}-{y}.txt" for a in ("retry", "forfeit") for y in ("turns", "log")}
    assert {file.name for file in GOLDEN.iterdir()} == kept
