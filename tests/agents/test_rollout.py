from dataclasses import replace

import numpy as np
import pytest

from icrl.agents import LCB, RUCB, UCB, LinUCB, LLMAgent, Uniform, recommend, replay, rollout
from icrl.agents.record import collect, identity
from icrl.agents.rollout import play
from icrl.envs import Choice, make
from icrl.prompts import Prompt

TASK = make("bernoulli-easy", horizon=6)


class TestArguments:
    @pytest.mark.parametrize(
        ("arguments", "says"),
        [
            ({"episodes": 0}, "episodes"),
            ({"episodes": -3}, "episodes"),
            ({"episodes": []}, "episodes"),
            ({"episodes": [1, -1]}, "episodes"),
            ({"episodes": [1, 2, 1]}, "episodes.*distinct"),
            ({"episodes": [0.5]}, "episodes.*0.5"),
            ({"episodes": [[1, 2]]}, "episodes"),
            ({"seed": -1}, "seed.*-1"),
            ({"seed": 1.5}, "seed.*1.5"),
            ({"seed": "a"}, "seed.*'a'"),
            ({"batch": 0}, "batch.*0"),
            ({"batch": None}, "batch.*None"),
            ({"episodes": None}, "episodes.*None"),
            ({"episodes": {1, 2}}, "episodes"),
        ],
        ids=str,
    )
    def test_bad_ones_are_refused_by_name(self, arguments, says):
        with pytest.raises(ValueError, match=says):
            rollout(Uniform(), TASK, **arguments)

    @pytest.mark.parametrize(
        ("fields", "says"),
        [
            ({"arm": [4]}, "arms 0 to 3"),
            ({"arm": [-2]}, "arms 0 to 3"),
            ({"arm": [0.0]}, "as integers"),
            ({"arm": [0, 1]}, r"arm must have the shape \(256, 1\), got \(256, 2\)"),
            ({"arm": [0], "probs": [0.25] * 4}, r"probs must have the shape \(256, 1, 4\), got \(256, 4\)"),
        ],
        ids=str,
    )
    def test_impossible_choices_are_refused(self, fields, says):
        """A world would take such an arm for one of another row."""

        class Odd(Uniform):
            def act(self, state, view):
                return state, Choice(**{k: np.repeat(np.array([v]), len(view.t), axis=0) for k, v in fields.items()})

        with pytest.raises(ValueError, match=f"agent: .*{says}"):
            rollout(Odd(), TASK, episodes=4)

    @pytest.mark.parametrize("when", [0, 3])
    def test_what_a_choice_does_not_tell_is_missing(self, when):
        class Moody(Uniform):
            def act(self, state, view):
                state, choice = super().act(state, view)
                mass = np.ones_like(choice.arm, float) if view.t[0] == when else None
                return state, replace(choice, mass=mass)

        told = ~np.isnan(rollout(Moody(), TASK, episodes=4).mass)
        assert told.sum(axis=0).tolist() == [4 * (t == when) for t in range(TASK.horizon)]

    def test_a_block_has_a_size(self):
        class Small(Uniform):
            block = 0

        with pytest.raises(ValueError, match="agent: its block"):
            rollout(Small(), TASK, episodes=4)

    def test_numbers_of_numpy_are_numbers(self, tmp_path):
        seeded = rollout(Uniform(), TASK, episodes=2, seed=np.uint64(3), batch=np.int32(2))
        assert (seeded.arms == rollout(Uniform(), TASK, episodes=2, seed=3).arms).all()
        assert seeded.load(seeded.save(tmp_path / "runs")).seed == 3
        assert rollout(Uniform(), TASK, episodes=np.int64(3)).episode.tolist() == [0, 1, 2]
        assert rollout(Uniform(), TASK, episodes=np.array([2.0, 5.0])).episode.tolist() == [2, 5]

    def test_an_agent_is_checked_before_anything_is_played(self, fakes, tokenizer):
        model = fakes.FakeModel(tokenizer, window=100)
        with pytest.raises(ValueError, match="window"):
            rollout(LLMAgent(model), TASK)
        assert model.asked == []


class TestRecord:
    def test_what_was_played_is_recorded(self, fakes):
        arms = np.array([[0, 1, 2, 3, 0, -1], [3, 3, -1, 0, 1, 1]])
        runs = rollout(fakes.Scripted(arms), TASK, episodes=2)
        assert runs.arms.tolist() == arms.tolist()
        assert (np.isnan(runs.rewards) == (arms < 0)).all() and (np.isnan(runs.gap) == (arms < 0)).all()
        assert runs.lengths.tolist() == [6, 6] and runs.terminated.tolist() == [False, False]
        assert runs.task == identity(TASK) and runs.seed == 0 and runs.public == TASK.public
        truth = TASK.instances(np.arange(2), 0)
        assert (runs.means == truth.means).all() and (runs.best_arm == truth.best_arm).all()

    def test_steps_are_shown_as_they_happen(self):
        steps = []
        runs = rollout(Uniform(), TASK, episodes=64, on_step=steps.append)
        assert len(steps) == 6
        played = np.stack([step.choice.arm[:64, 0] for step in steps], axis=1)
        assert (played == runs.arms).all()


def test_a_task_may_have_no_horizon(fakes):
    """Its columns grow as it goes on."""
    known, unknown = (kind(n_arms=3, horizon=300, means={"kind": "uniform"}) for kind in (fakes.Ending, fakes.Open))
    one, other = (rollout(UCB(), world, episodes=512) for world in (known, unknown))
    assert one.lengths.max() > 64 and other.horizon == one.lengths.max()
    for name in ("arms", "rewards", "gap", "lengths", "terminated"):
        column, same = one.columns()[name], other.columns()[name]
        np.testing.assert_array_equal(column[:, : other.horizon] if column.ndim > 1 else column, same)


class TestReplay:
    def test_over_the_history_of_another(self):
        """What UCB would do at each step of a uniform agent's history."""
        runs = rollout(Uniform(), TASK, episodes=256)
        choices = np.stack([c.arm[:, 0] for c in replay(UCB(), runs)], axis=1)
        for t in range(4):
            untried = np.array([c not in row[:t] for row, c in zip(runs.arms, choices[:, t], strict=True)])
            assert untried.all(), "with fewer pulls than arms, UCB takes an untried one"

    def test_rows_past_their_end_choose_nothing(self, fakes):
        world = fakes.Ending(n_arms=3, horizon=12, means={"kind": "uniform"})
        runs = rollout(Uniform(), world, episodes=256)
        for t, choice in enumerate(replay(UCB(), runs)):
            assert ((choice.arm[:, 0] < 0) == (runs.lengths <= t)).all()

    def test_all_that_a_choice_tells_is_kept_when_rows_end(self, fakes, tokenizer):
        world = fakes.Ending(n_arms=5, horizon=12, means={"kind": "uniform"})
        agent = fakes.agent("llm-turns", tokenizer)
        runs = rollout(agent, world, episodes=16)
        choices = list(replay(agent, runs))
        assert runs.lengths.min() < runs.horizon == len(choices)
        np.testing.assert_array_equal(np.stack([c.probs[:, 0] for c in choices], axis=1), runs.probs)
        np.testing.assert_array_equal(np.stack([c.mass[:, 0] for c in choices], axis=1), runs.mass)
        np.testing.assert_array_equal(np.array([c.text for c in choices]).T, runs.text)

    def test_forfeited_steps_are_no_pulls(self, fakes):
        runs = rollout(fakes.Scripted(np.full((256, 6), -1)), TASK, episodes=256)
        choices = np.stack([c.arm[:, 0] for c in replay(UCB(), runs)], axis=1)
        assert set(choices.ravel()) == {0, 1, 2, 3}


@pytest.mark.parametrize("prompt", ["llm-turns", "llm-log", "llm-summary", "llm-retry", "llm-forfeit"])
def test_a_stored_past_goes_on_as_if_never_interrupted(prompt, fakes, tokenizer):
    agent, episodes = fakes.agent(prompt, tokenizer), np.arange(10)
    whole = rollout(agent, TASK, episodes=10)
    cut = {name: column[:, :3] for name, column in whole.columns().items() if column.ndim > 1 and name != "means"}
    rest = collect(agent, TASK, episodes, 0, play(agent, TASK, episodes, 0, past=replace(whole, **cut)))
    for name in cut:
        np.testing.assert_array_equal(rest.columns()[name], whole.columns()[name][:, 3:], err_msg=name)


def test_labels_can_be_given(fakes, tokenizer):
    agent, episodes = LLMAgent(fakes.FakeModel(tokenizer), Prompt()), np.arange(2)
    names = (("oak", "ash", "elm", "fir"), ("fir", "elm", "ash", "oak"))
    steps = list(play(agent, TASK, episodes, 0, names=names))
    assert all(set(step.choice.text) <= {"oak", "ash", "elm", "fir"} for step in steps)


def test_replay_refuses_what_rollout_refuses():
    runs, duels = rollout(UCB(), TASK, episodes=4), rollout(RUCB(), make("dueling", horizon=9), episodes=4)
    for log, agent in ((runs, LinUCB()), (runs, RUCB()), (duels, UCB()), (duels, LCB())):
        with pytest.raises(ValueError, match="cannot play this task"):
            recommend(agent, log)
        with pytest.raises(ValueError, match="cannot play this task"):
            list(replay(agent, log))
    with pytest.raises(ValueError, match="episodes: at least one"):
        recommend(LCB(), runs.take(slice(0, 0)))


@pytest.mark.parametrize("episodes", [[[1], [2, 3]], [2**63], True, "all"])
def test_episodes_are_a_number_or_indices(episodes):
    with pytest.raises(ValueError, match="episodes: give a number"):
        rollout(UCB(), TASK, episodes=episodes)
