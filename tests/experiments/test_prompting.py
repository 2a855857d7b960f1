"""Prompts of experiment files: what they become, and the sentences about what is no prompt."""

import pytest
import yaml

from icrl import agents
from icrl.agents import UCB, LinUCB
from icrl.experiments import Experiment, prompting, run
from icrl.experiments.config import Shared, served
from icrl.experiments.prompting import Lessons
from icrl.prompts import krishnamurthy

COINS, CONTEXTS = "bernoulli-hard", {"preset": "linear", "horizon": 20}


def plan(task=COINS, **fields):
    return Experiment(task=task, agents={"a": {"model": "pocket"} | fields})


class TestPublished:
    def test_one_by_its_name(self):
        assert served(plan(prompt="krishnamurthy/BSSC"))[1].prompt == krishnamurthy()["BSSC"]

    def test_with_fields_of_its_own(self):
        found = served(plan(prompt={"preset": "evolve/summary-guided", "answer": "direct"}))[1].prompt
        assert found.answer == "direct" and found.notes.adviser == UCB(alpha=0.5) and found.layout == "log"

    def test_a_sweep_is_one_agent_each(self):
        sweep = {"model": "pocket", "prompts": "krishnamurthy", "prompt": {"max_thought": 7}, "temperature": 0.5}
        found = Experiment(task=COINS, agents={"grid": sweep, "ucb": "UCB"})
        assert len(found.agents) == 33 and list(found.agents)[-1] == "ucb"
        _, one = served(found, "grid-ANRCD")
        assert (one.temperature, one.prompt.max_thought, one.prompt.answer) == (0.5, 7, "thought-distribution")
        assert Experiment.model_validate(found.model_dump()) == found, "as a run folder keeps it"

    @pytest.mark.parametrize(
        ("task", "names", "guide"),
        [
            (COINS, ["raw", "summary", "raw-guided", "summary-guided"], UCB(alpha=0.5)),
            (CONTEXTS, ["raw", "raw-guided"], LinUCB()),
        ],
    )
    def test_the_guide_and_the_histories_fit_the_task(self, task, names, guide):
        found = plan(task, prompts="evolve")
        assert list(found.agents) == [f"a-{name}" for name in names]
        assert served(found, "a-raw-guided")[1].prompt.notes.adviser == guide
        found.check_prompts(Shared(Lessons(found.build_task())))
        assert Experiment.model_validate(found.model_dump()) == found, "as a run folder keeps it"

    @pytest.mark.parametrize(
        ("fields", "says"),
        [
            ({"prompt": "krishnamurthy/XXXX"}, r"agents\.a\.prompt: unknown prompt 'XXXX' of krishnamurthy"),
            ({"prompt": "evolv/raw"}, r"agents\.a\.prompt: unknown preset 'evolv', did you mean 'evolve'"),
            ({"prompts": "evolv"}, r"agents\.a\.prompts: unknown preset 'evolv', did you mean 'evolve'"),
            ({"prompts": "evolve", "prompt": "evolve/raw"}, r"agents\.a\.prompt: beside prompts, give fields"),
            ({"prompt": {"preset": None}}, r"agents\.a\.prompt: give fields .* got None"),
        ],
    )
    def test_unknown_ones_are_refused(self, fields, says):
        with pytest.raises(ValueError, match=says):
            plan(**fields)


STORY = dict.fromkeys(("setting", "unit", "units", "tries", "act", "acted"), "x") | {"labels": ["a", "b"]}


@pytest.mark.parametrize(
    ("prompt", "says"),
    [
        ({"history": {"kind": "window"}}, "history.last: Field required"),
        ({"history": "window"}, "history.last: Field required"),
        (
            {"history": {"kind": "windw", "last": 3}},
            "history: unknown kind 'windw', did you mean 'window'. Known: raw, .*",
        ),
        ({"history": {"kind": "window", "lats": 3}}, "history: Window: unknown key 'lats', did you mean 'last'.*"),
        ({"history": {"kind": "raw", "rewards": "nmbrs"}}, "history.rewards: Input .* 'words', got 'nmbrs'"),
        ({"history": {"last": 3}}, "history: its kind is missing"),
        ({"history": "rew"}, "history: unknown history 'rew', did you mean 'raw'.*"),
        ({"scenario": "butons"}, "scenario: unknown scenario 'butons', did you mean 'buttons'.*"),
        ({"scenario": {"settin": "x"}}, "scenario: Scenario: unknown key 'settin', did you mean 'setting'.*"),
        ({"scenario": STORY | {"unit": 3}}, "scenario.unit: Input should be a valid string, got 3"),
        ({"scenario": {k: v for k, v in STORY.items() if k != "act"}}, "scenario.act: Field required"),
        ({"scenario": STORY | {"labels": ["a", "A"]}}, "scenario: labels: labels must differ .* 'a' comes twice"),
        ({"hints": "UBC"}, "hints: unknown algorithm 'UBC', did you mean 'UCB'.*"),
        ({"hints": 3}, r"hints: give an algorithm \(type: UCB\), got 3"),
        ({"hints": {"model": "pocket"}}, r"hints: give an algorithm \(type: UCB\), got .*"),
        ({"hints": {"adviser": "UCB", "show": "numbers"}}, "hints.show: Input should be a valid list, got 'numbers'"),
        ({"hints": {"adviser": "UCB", "show": ["nmbrs"]}}, "hints.show.0: Input should be 'numbers', .*, got 'nmbrs'"),
        ({"hints": {"adviser": "UCB", "shw": ["arm"]}}, "hints: unknown key 'shw', did you mean 'show'.*"),
        (
            {"demonstrations": {"teacher": "UBC"}},
            "demonstrations.teacher: unknown algorithm 'UBC', did you mean 'UCB'.*",
        ),
        ({"demonstrations": {"count": 2}}, "demonstrations.teacher: Field required"),
        ({"demonstrations": {"teacher": "UCB", "count": 0}}, "demonstrations.count: Input .* equal to 1, got 0"),
        ({"demonstrations": {"teacher": "UCB", "chose": 0}}, "demonstrations: Shown: unknown key 'chose', did .*"),
        ({"labels": "red"}, "labels: Input should be a valid list, got 'red'"),
        ({"hystory": "raw"}, "unknown key 'hystory', did you mean 'history'.*"),
    ],
)
def test_a_bad_prompt_is_one_sentence_that_names_its_place(tmp_path, prompt, says):
    (tmp_path / "plan.yaml").write_text(
        yaml.safe_dump({"task": COINS, "agents": {"g": {"model": "m", "prompt": prompt}}})
    )
    with pytest.raises(ValueError, match=rf"^Experiment(\.|: )agents\.g\.prompt(\.|: ){says}$"):
        Experiment.load(tmp_path / "plan.yaml")


class TestLessons:
    def demos(self, **fields):
        return {"prompt": {"demonstrations": {"teacher": {"type": "UCB", "c": 1}, "pool": 5} | fields}}

    def test_a_teacher_plays_once_for_all_agents(self, monkeypatch):
        played = []
        monkeypatch.setattr(prompting, "rollout", lambda *a, **k: played.append(k) or agents.rollout(*a, **k))
        found = plan({"preset": COINS, "horizon": 4}, prompts="krishnamurthy", **self.demos())
        shared = Shared(Lessons(found.build_task()))
        found.check_prompts(shared)
        games = {id(found.build_agent(name, shared).prompt.games.parts[0]) for name in list(found.agents)[:3]}
        assert len(played) == len(games) == 1

    @pytest.mark.parametrize(
        ("other", "times"), [({"count": 2}, 1), ({"pool": 6}, 2), ({"seed": 1}, 2), ({"teacher": "UCB"}, 2)]
    )
    def test_other_games_are_played_anew(self, other, times):
        found = Lessons(plan({"preset": COINS, "horizon": 4}).build_task())
        for fields in ({}, other, other):
            shown = prompting.Shown(**self.demos(**fields)["prompt"]["demonstrations"])
            assert found.of(shown, "x").count == shown.count
        assert len(found.played) == times

    def test_a_teacher_that_cannot_play_is_named(self):
        with pytest.raises(ValueError, match=r"^agents\.a\.prompt\.demonstrations\.teacher: .*LinUCB cannot play"):
            served(plan(**self.demos(teacher="LinUCB")))


@pytest.mark.parametrize(
    ("agent", "where"),
    [
        ({"model": "./nowhere", "prompt": "evolve/summary"}, "agents.b.prompt"),
        (
            {"type": "EpsilonMix", "agent": {"model": "./nowhere", "prompt": {"history": "summary"}}},
            "agents.b.agent.prompt",
        ),
        ("RUCB", "agents.b"),
    ],
)
def test_what_needs_no_weights_is_checked_before_any_are_loaded(tmp_path, agent, where):
    found = Experiment(task=CONTEXTS, agents={"a": {"model": "./nowhere"}, "b": agent})
    with pytest.raises(ValueError, match=f"^{where}: "):
        run(found, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_inside_restarting_a_prompt_tells_one_game(tmp_path):
    window = {"model": "pocket", "prompt": {"history": {"kind": "window", "last": 3}}}
    game = {"kind": "bandit", "n_arms": 3, "horizon": 4, "means": {"kind": "uniform"}}
    task = {"kind": "trials", "games": 2, "task": game}
    found = Experiment(task=task, agents={"a": {"type": "Restarting", "agent": window}}, episodes=2)
    assert len(run(found, tmp_path)["a"]) == 2
    with pytest.raises(ValueError, match=r"agents\.a\.prompt: history: of several games 'window' cannot tell"):
        run(Experiment(task=task, agents={"a": window}), tmp_path / "new")
