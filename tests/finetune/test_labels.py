"""What is learnt at each step."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from icrl.agents import RUCB, UCB, LLMAgent, ThompsonSampling, TryAll, Uniform, rollout
from icrl.envs import Bandit, Gap, UniformMeans, make
from icrl.finetune.labels import Labels, Oracle, one_hot

TASK = Bandit(n_arms=4, horizon=12, means=UniformMeans())


@pytest.fixture(scope="module")
def played():
    return rollout(Uniform(), TASK, episodes=256, seed=3)


def test_taken_is_what_was_played(played):
    taught = Labels("taken")(played)
    assert (taught.argmax(axis=2) == played.arms).all() and (taught.sum(axis=2) == 1).all()


def test_a_teacher_on_its_own_history_repeats_itself():
    runs = rollout(UCB(), TASK, episodes=256, seed=4)
    assert (Labels("teacher", UCB())(runs) == Labels("taken")(runs)).all()


def test_the_policy_is_the_teachers_on_somebody_elses_history(played):
    policy, chosen = (Labels(label, UCB())(played) for label in ("policy", "teacher"))
    assert np.allclose(policy.sum(axis=2), 1) and (policy[chosen > 0] > 0).all()
    assert (policy[:, 0] == 0.25).all(), "before anything is known all arms tie"
    late = policy[:, -1].max(axis=1)
    assert late.mean() > 0.9 and (policy[:, -1].argmax(axis=1) != played.arms[:, -1]).mean() > 0.5


def test_samples_are_draws_of_the_policy(played):
    policy, drawn = (Labels(label, ThompsonSampling())(played) for label in ("policy", "teacher_sample"))
    expected, seen = policy[:, 6:].sum(axis=(0, 1)), drawn[:, 6:].sum(axis=(0, 1))
    assert stats.chisquare(seen, expected).pvalue > 1e-3
    assert (drawn == Labels("teacher_sample", ThompsonSampling())(played)).all(), "the same again"
    likely = np.take_along_axis(policy, drawn.argmax(axis=2)[..., None], axis=2)
    assert likely.mean() > (policy**2).sum(axis=2).mean() - 0.02, "and not of other episodes or steps"


def test_the_best_arm_is_the_worlds(played):
    taught = Labels("optimal", oracle=Oracle(TASK))(played)
    assert (taught.argmax(axis=2) == played.best_arm[:, None]).all()


def test_the_best_arm_may_change():
    task = make("switching", horizon=40)
    runs = rollout(Uniform(), task, episodes=32)
    best = Oracle(task).best(runs)
    assert (runs.gap[best == runs.arms] == 0).all() and (best[:, 0] != best[:, -1]).any()
    assert (runs.gap[best != runs.arms] > 0).all()


def test_episodes_may_end_early(played):
    lengths = np.array([12, 3, 7, 1])
    over = np.arange(12) >= lengths[:, None]
    four = played.take(slice(0, 4))
    arms, rewards = np.where(over, -1, four.arms), np.where(over, np.nan, four.rewards)
    short = replace(four, lengths=lengths, arms=arms, rewards=rewards)
    for labels in (Labels("optimal", oracle=Oracle(TASK)), Labels("policy", UCB()), Labels("teacher", UCB())):
        assert labels(short).sum(axis=2)[~over] == pytest.approx(1)


def test_a_model_can_teach(fakes, tokenizer):
    model = LLMAgent(fakes.FakeModel(tokenizer))
    runs = rollout(model, TASK, episodes=3)
    assert Labels("policy", model)(runs) == pytest.approx(runs.probs, abs=1e-9)


def test_bad_labels(played):
    with pytest.raises(ValueError, match="label: must be one of taken, teacher, .*got 'best'"):
        Labels("best")
    with pytest.raises(ValueError, match="teacher: label 'teacher' needs one"):
        Labels("teacher")
    with pytest.raises(ValueError, match="oracle: label 'optimal' needs one"):
        Labels("optimal", UCB())
    with pytest.raises(ValueError, match="does not tell its probabilities; use label='teacher'"):
        Labels("policy", TryAll(UCB()))(played)
    with pytest.raises(ValueError, match="label: of tasks with pairs only what was taken is learnt"):
        Labels("teacher", UCB())(rollout(RUCB(), make("dueling", horizon=3), episodes=2))
    with pytest.raises(ValueError, match="ThompsonSampling cannot play this task"):
        Labels("teacher", ThompsonSampling())(rollout(Uniform(), make("linear", horizon=3), episodes=2))


def test_one_hot_of_nothing_is_nothing():
    assert one_hot(np.array([[1, -1]]), 3).tolist() == [[[0, 1, 0], [0, 0, 0]]]


def test_gaps_do_not_matter_to_the_oracle():
    task = Bandit(n_arms=3, horizon=4, means=Gap(best=0.5, gap=0.2))
    runs = rollout(Uniform(), task, episodes=30)
    assert (Oracle(task).best(runs) == runs.best_arm[:, None]).all()
