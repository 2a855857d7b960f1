"""The exact prompts, as files: a change of wording must be seen. ICRL_WRITE_GOLDEN=1 writes them anew.

The eight styles that `pocket` is trained on, a table of settings in which every pair of them occurs
(`settings.py`), and kinds of tasks that the table leaves out: at most 60 files.
"""

import importlib.util
import os
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from icrl.agents import LLMAgent, replay, rollout
from icrl.envs import ActionSets, Bandit, BestArm, Fixed, Linear, Switching, UniformMeans
from icrl.models import Answer
from icrl.prompts import Prompt
from icrl.prompts.bounds import bounds

FOLDER = Path(__file__).parent
GOLDEN = FOLDER / "golden"
_spec = importlib.util.spec_from_file_location("icrl_prompt_settings", FOLDER / "settings.py")
settings = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(settings)

WORDS = ("cap", "tie", "elm")
TASK = Bandit(n_arms=3, horizon=4, means=Fixed(values=(0.9, 0.5, 0.1)))
TRAINED = [(s, h, y) for s in ("buttons", "clothes") for h in ("raw", "summary") for y in ("turns", "log")]
KINDS = {
    "features": (Linear(n_arms=3, horizon=4, dim=2, shared=True), Prompt(scenario="slots", labels=WORDS)),
    "present": (ActionSets(n_arms=3, horizon=4, means=UniformMeans(), present=0.6), Prompt(labels=WORDS)),
    "moving": (
        Switching(n_arms=3, horizon=4, changes=1, means=UniformMeans()),
        Prompt("raw", "ads", "log", labels=WORDS),
    ),
    "best-arm": (BestArm(n_arms=3, horizon=4, means=UniformMeans()), Prompt("summary", "slots", "log", labels=WORDS)),
}
TABLE = """
coins full-summary ads turns direct dropped words random one bare told - -
coins positive slots log distribution dropped rounded numbers one bare told said tight
coins raw ads turns thought kept words ranking two advice told - tight
coins raw buttons log thought-distribution dropped plain none one advice hidden - tight
coins stochastic buttons log direct dropped words ranking one bare hidden said tight
coins stochastic buttons log thought-distribution dropped words arm one bare told said tight
coins summary ads log distribution dropped rounded permuted none advice told - tight
coins summary clothes log free dropped words numbers none bare hidden said -
coins summary clothes turns thought-distribution dropped words random two bare told - -
coins trials ads log thought-distribution dropped words random two advice told - tight
coins window slots turns thought-distribution kept rounded none none bare told said -
contexts positive ads turns direct dropped plain arm one advice told said tight
contexts positive buttons turns thought kept rounded random two bare told said -
contexts positive slots log direct dropped rounded ranking one advice hidden said -
contexts raw clothes log distribution dropped plain none none bare told - -
contexts stochastic clothes log distribution dropped plain permuted none advice told - -
contexts trials slots turns free dropped plain none one advice told said -
contexts window ads log thought-distribution dropped plain numbers two advice told said tight
duel positive ads turns free dropped words none none advice told - tight
duel raw clothes log free dropped plain random none bare hidden - tight
duel raw slots turns thought dropped words permuted two bare told said -
duel stochastic buttons turns thought kept rounded numbers none bare hidden said tight
duel stochastic slots log free dropped rounded arm one bare hidden said -
duel trials buttons log direct dropped plain numbers none bare hidden - tight
duel window ads turns free dropped words ranking two bare hidden - -
duel window buttons log direct dropped words permuted one bare hidden said -
games full-summary ads log free dropped rounded permuted one advice hidden said -
games full-summary buttons log distribution dropped words random two advice hidden said tight
games full-summary clothes log thought dropped rounded numbers one bare told said -
games full-summary slots turns thought-distribution dropped plain none none advice hidden - -
games raw slots log direct dropped words arm two bare hidden - -
games summary buttons turns free dropped rounded ranking one bare told - tight
games summary clothes log direct dropped plain none none advice hidden - tight
games trials ads log distribution dropped words permuted one bare hidden said tight
games trials clothes turns thought-distribution kept rounded ranking two advice told - -
numbers full-summary ads turns free dropped plain arm two advice told - -
numbers full-summary slots turns distribution dropped plain ranking none bare hidden said -
numbers positive clothes turns thought-distribution kept plain permuted one bare told said tight
numbers raw ads turns distribution dropped rounded arm none advice told said tight
numbers raw ads turns free dropped rounded numbers one bare hidden said tight
numbers stochastic ads turns direct dropped rounded none two bare hidden said tight
numbers stochastic slots turns thought-distribution kept plain random two advice hidden - -
numbers summary buttons log thought dropped rounded none one bare hidden said -
numbers summary slots log free dropped plain arm two advice hidden said tight
numbers trials buttons log thought dropped plain arm two bare hidden - -
numbers window clothes turns thought kept plain arm one bare told - -
numbers window slots log distribution dropped rounded random none bare told - -
"""
ROWS = [
    tuple(word.removesuffix("-") if word == "-" else word for word in line.split()) for line in TABLE.split("\n")[1:-1]
]


def golden(name, found):
    """Compares a text with its file."""
    file = GOLDEN / f"{name}.txt"
    if os.environ.get("ICRL_WRITE_GOLDEN"):
        GOLDEN.mkdir(exist_ok=True)
        file.write_text(found, encoding="utf-8")
    assert found == file.read_text(encoding="utf-8")


def name(row):
    """Of the file of a row."""
    return f"{ROWS.index(row) + 1:02}-{row[0]}-{row[1]}-{row[3]}-{row[4]}"


@pytest.mark.parametrize(("story", "history", "layout"), TRAINED)
def test_what_pocket_reads(story, history, layout, fakes, tokenizer):
    """The first and the fourth prompt of a game."""
    prompt, model = Prompt(history, story, layout, labels=WORDS), fakes.FakeModel(tokenizer)
    runs = rollout(fakes.Scripted([[0, 0, 0, 0], [0, 1, 0, 2]]), TASK, episodes=[1])
    list(replay(LLMAgent(model, prompt), replace(runs, names=prompt.names(TASK.public, runs.episode, 0))))
    first, fourth = (tokenizer.decode(model.asked[t][0].ids) for t in (0, 3))
    golden(f"{story}-{history}-{layout}", f"==== t=0\n{first}\n==== t=3\n{fourth}\n")


@pytest.fixture
def deciding(fakes, tokenizer):
    """A model that thinks, chooses and writes by a script, and cannot be read at the second step."""

    class Deciding(fakes.FakeModel):
        step = 0

        def _answer(self, query):
            said = ("cap", "tie", "cap", "elm")[self.step]
            if query.choices is not None:
                labels = [self.tokenizer.decode(choice[:-1]) for choice in query.choices]
                chosen = labels.index(said) if said in labels else 0
                return Answer((1, 0, 0), np.where(np.arange(len(labels)) == chosen, 0.0, -np.inf), 1.0)
            text = (
                f"{said} may pay.\nAnswer:" if query.stop else f"{said}: 0.75\nelm: 0.25" if query.limit == 48 else said
            )
            text = "hm?" if self.step == 1 and not query.stop else f"{text}, tie" if query.limit == 32 else text
            return Answer((1, 0, 1), ids=tuple(self.tokenizer.encode(text, add_special_tokens=False)))

    return Deciding(tokenizer)


def fourth(model, task, prompt):
    """The last that is read before the fourth answer, in episode 1."""
    agent = LLMAgent(model, replace(prompt, on_failure="forfeit"))

    def next_step(_):
        model.step = min(model.step + 1, 3)

    rollout(agent, task, episodes=[1], on_step=next_step)
    return f"{model.tokenizer.decode(model.asked[-1][0].ids)}\n"


@pytest.mark.parametrize("row", ROWS, ids=name)
def test_what_composes(row, deciding):
    task, prompt = settings.TASKS[row[0]], settings.prompt(row, WORDS)
    if row[-1]:
        parts = bounds(LLMAgent(deciding, prompt).writer(task.public))
        prompt = replace(prompt, budget=parts.least + (parts.body if "summary" in row[1] else 40))
    golden(name(row), fourth(deciding, task, prompt))


@pytest.mark.parametrize("kind", KINDS)
def test_other_kinds_of_tasks(kind, deciding):
    golden(kind, fourth(deciding, *KINDS[kind]))


def test_every_pair_of_settings_that_goes_together_is_in_the_table():
    """As far as drawn rows show which go together."""
    assert all(settings.fits(row) for row in ROWS)
    known = set().union(*map(settings.pairs, ROWS))
    rng = random.Random(1)
    drawn = (tuple(rng.choice(values) for values in settings.AXES.values()) for _ in range(3000))
    missing = {pair for row in drawn if settings.fits(row) for pair in settings.pairs(row)} - known
    assert not missing
    assert len(known) > 850


def test_no_golden_file_is_left_over():
    kept = {"-".join(style) for style in TRAINED} | {name(row) for row in ROWS} | KINDS.keys()
    assert {file.stem for file in GOLDEN.iterdir()} == kept and len(kept) <= 60
