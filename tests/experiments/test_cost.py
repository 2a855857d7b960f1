"""What a run takes is known before it, up to what models think and write; and counted after it."""

import pytest
from typer.testing import CliRunner

from icrl.agents import LLMAgent, rollout
from icrl.cli import app
from icrl.envs import make
from icrl.experiments import Experiment, load, run
from icrl.experiments.config import Prices
from icrl.experiments.cost import Cost, estimate, measured
from icrl.experiments.store import Store
from icrl.prompts import Prompt

T, EPISODES = 12, 5
CLOSED = {"answer": "thought", "max_thought": 24}


def plan(task="bernoulli-hard", horizon=T, **agents):
    fields = {"task": {"preset": task, "horizon": horizon}, "agents": agents}
    return Experiment.model_validate(fields | {"episodes": EPISODES, "batch": 3})


def pocket(**prompt):
    return {"model": "pocket", "prompt": prompt}


def played(experiment, agent=None, episodes=EPISODES):
    """What was counted, of one agent whose model begins with nothing in its cache."""
    agent = agent or experiment.build_agent("a")
    return measured(rollout(agent, experiment.build_task(), episodes=episodes, batch=3, seed=experiment.seed))


class TestPrompts:
    @pytest.mark.parametrize("layout", ["turns", "log"])
    @pytest.mark.parametrize("task", ["bernoulli-hard", "evolve-gaussian-k5-easy"])
    def test_of_a_raw_history_are_known_exactly(self, task, layout):
        """Labels and rewards are as many tokens whichever they are; those of Gaussian rewards nearly so."""
        experiment = plan(task, a=pocket(layout=layout))
        found, counted = estimate(experiment)["a"], played(experiment)
        assert found.calls == counted.calls == T * EPISODES and found.written == found.thinking == 0
        if task == "bernoulli-hard":
            assert found == counted
        assert found.new == pytest.approx(counted.new, rel=0.05)
        assert found.cached == pytest.approx(counted.cached, rel=0.05)

    def test_of_pairs_are_read_twice(self):
        """But for a few tokens: the first arm stands before the second, and is not read again at the next step."""
        experiment = plan("dueling", a=pocket())
        found, counted = estimate(experiment)["a"], played(experiment)
        assert found.new == pytest.approx(counted.new, rel=0.03)
        assert found.cached == pytest.approx(counted.cached, rel=0.03)

    def test_of_several_models_add_up(self):
        one, two = pocket(), pocket(history="summary")
        found = estimate(plan(a=one, b=two, both={"type": "Mixture", "llm": one, "algorithm": two}, ucb="UCB"))
        assert list(found) == ["a", "b", "both"] and found["both"] == found["a"] + found["b"] != found["a"]

    def test_of_games_that_are_forgotten(self):
        short = estimate(plan(horizon=4, a=pocket()))["a"]
        games = {"kind": "trials", "games": 3, "task": make("bernoulli-hard", horizon=4).model_dump(mode="json")}
        several = plan(a={"type": "Restarting", "agent": pocket()}).model_copy(update={"task": games})
        assert estimate(several)["a"] == short.times(3)


class TestThoughts:
    @pytest.mark.parametrize("thoughts", ["dropped", "kept"])
    def test_that_never_end_are_what_is_estimated(self, fakes, tokenizer, thoughts):
        """The stand-in has no cache, so that all it reads is new."""
        model = fakes.Thinking(tokenizer, thought=lambda query: "red " * 30)
        experiment = plan(a=pocket(**CLOSED, thoughts=thoughts))
        counted = played(experiment, LLMAgent(model, Prompt(**CLOSED, thoughts=thoughts)))
        found = estimate(experiment)["a"]
        assert found.thinking == counted.thinking == 24 * T * EPISODES and counted.cached == 0
        assert found.new + found.cached == counted.new

    def test_are_measured_by_a_pilot_behind_the_experiment(self):
        experiment, seen = plan(a=pocket(**CLOSED), direct=pocket()), []
        found = estimate(experiment, 2, lambda name, steps, tokens: seen.append((name, steps)))
        tried = played(experiment, episodes=[EPISODES, EPISODES + 1])
        assert found["a"] == tried.times(EPISODES, 2) and 0 < tried.thinking < 2 * T * 24
        assert found["direct"] == estimate(experiment)["direct"]
        assert seen == [("a", 0)] + [("a", 2)] * T


class TestAnswers:
    def test_that_are_written_are_a_label_and_its_end(self):
        experiment = plan(a=pocket(answer="free"))
        found, counted = estimate(experiment)["a"], played(experiment)
        assert found.written == 2 * T * EPISODES <= counted.written < 1.2 * found.written

    def test_of_probabilities_are_a_line_for_each_arm(self, fakes, tokenizer):
        share, end = len(tokenizer.encode(": 0.20", add_special_tokens=False)), 1
        found = estimate(plan(a=pocket(answer="distribution", labels=list(fakes.FIVE))))["a"]
        assert found.written == T * EPISODES * (5 * (1 + share) + 4 + end)


class TestPrices:
    COST = Cost(new=2_000_000, cached=10_000_000, written=300_000, thinking=700_000, calls=9)

    def test_are_of_a_million_tokens(self):
        assert self.COST.price(Prices(new=0.5, cached=0.25, written=4)) == 1 + 2.5 + 4

    def test_of_cached_tokens_are_those_of_new_ones_if_none_is_given(self):
        assert self.COST.price(Prices(new=0.5, written=4)) == 1 + 5 + 4

    @pytest.mark.parametrize("bad", [{"new": -1, "written": 1}, {"new": 1}, {"new": 1, "written": 1, "cach": 1}])
    def test_that_are_none_are_refused(self, bad):
        with pytest.raises(ValueError, match=r"prices|Prices"):
            Experiment(task="bernoulli-hard", agents={"a": "UCB"}, prices=bad)


def test_what_no_model_was_asked_for_costs_nothing():
    experiment = plan(a={"type": "TryAll", "agent": pocket()})
    assert played(experiment).calls == (T - 5) * EPISODES
    assert measured(rollout(plan(u="UCB").build_agent("u"), experiment.build_task(), episodes=2)) == Cost()


def test_a_run_that_continues_counts_on(tmp_path):
    """All that was read: what a look at the model left in its cache, and what was read again after the stop."""
    experiment, left = plan(a=pocket(**CLOSED)), T

    def stop(agent, steps, tokens):
        nonlocal left
        left -= steps > 0
        if left < T / 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(experiment, tmp_path, stop)
    with Store.read(tmp_path) as store:
        before = store.tokens()
    run(experiment, tmp_path)
    found = measured(load(tmp_path)[1]["a"])
    with Store.read(tmp_path) as store:
        assert 0 < before < store.tokens() == found.new + found.written + found.thinking
    assert found.calls == T * EPISODES and found.thinking > 0


def test_a_run_reads_what_was_estimated(tmp_path):
    """What is looked at before play stands in the cache already, so less of it is new."""
    experiment = plan(a=pocket())
    found, counted = estimate(experiment)["a"], measured(run(experiment, tmp_path)["a"])
    assert found.new + found.cached == counted.new + counted.cached and counted.new <= found.new


class TestCommand:
    @pytest.fixture
    def icrl(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("COLUMNS", "150")
        agents = "{'p [/b]': {model: pocket}, t: {model: pocket, prompt: {answer: thought, max_thought: 8}}, u: UCB}"
        text = f"task: {{preset: bernoulli-hard, horizon: 6}}\nepisodes: 4\nagents: {agents}\n"
        (tmp_path / "plan.yaml").write_text(text + "prices: {new: 1000, cached: 0, written: 1}")
        return lambda *arguments: CliRunner().invoke(app, ["run", "plan.yaml", *arguments])

    def test_a_dry_run_plays_nothing(self, icrl, tmp_path):
        done = icrl("--dry-run", "--out", "run")
        assert done.exit_code == 0, done.output
        assert [path.name for path in tmp_path.iterdir()] == ["plan.yaml"]
        rows = [line.split() for line in done.output.splitlines() if " estimated " in line]
        cost = estimate(Experiment.load(tmp_path / "plan.yaml"))["p [/b]"]
        price = f"{cost.new / 1000:.2f}" if cost.new >= 1000 else f"{cost.new / 1000:.2g}"
        assert rows[0] == ["p", "[/b]", "estimated", "24", f"{cost.new:,}", f"{cost.cached:,}", "0", "0", price]
        assert [row[0] for row in rows] == ["p", "t", "all"] and rows[1][-2] == f"{6 * 4 * 8}"
        assert "max_thought" in " ".join(done.output.split())

    def test_a_pilot_is_shown(self, icrl, tmp_path):
        done = icrl("--dry-run", "--pilot", "2")
        assert done.exit_code == 0 and "From 2 episodes" in done.output and not (tmp_path / "run").exists()

    def test_after_a_run_the_two_stand_beside_each_other(self, icrl):
        done = icrl("--out", "run")
        assert done.exit_code == 0, done.output
        kinds = [
            kind for line in done.output.splitlines() for kind in line.split() if kind in ("measured", "estimated")
        ]
        assert kinds == ["measured", "estimated"] * 3

    @pytest.mark.parametrize(("arguments", "says"), [((), "out: "), (("--out", "run", "--pilot", "2"), "pilot: ")])
    def test_what_is_missing_is_said(self, icrl, tmp_path, arguments, says):
        done = icrl(*arguments)
        assert isinstance(done.exception, ValueError) and str(done.exception).startswith(says)
        assert not (tmp_path / "run").exists()

    def test_help_teaches_it(self, icrl):
        told = " ".join(icrl("--help").output.split())
        assert all(word in told for word in ("--dry-run", "--pilot", "prices: {new: 0.1", "beside the estimate"))


def test_a_pilot_that_is_larger_than_the_run():
    plan = Experiment(task="bernoulli-hard", episodes=3, agents={"ucb": "UCB"})
    with pytest.raises(ValueError, match="pilot: at most as many as the experiment has, 3, got 4"):
        estimate(plan, 4)
