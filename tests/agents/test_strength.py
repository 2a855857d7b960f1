"""Strengths as policies: by the step, by an adviser, and towards an entropy."""

import numpy as np
import pytest

from icrl import UCB, Uniform
from icrl.agents import Constant, Fading, ToEntropy, Unsure
from icrl.envs import Choice, Outcome, Public, View

PUBLIC = Public("bandit", 3, 20, "bernoulli")


def view(t, rows=2):
    return View(np.arange(rows), np.full(rows, t), np.zeros(rows, np.int64), np.ones((rows, 3), np.bool_))


def paid(reward, rows=2):
    none = np.zeros(rows, np.bool_)
    return Outcome(np.full(rows, float(reward)), none, none)


def after(strength, steps):
    """The state after (choice, reward) steps, and the next view."""
    state = strength.start(PUBLIC, None, np.arange(2), 0)
    for t, (choice, reward) in enumerate(steps):
        state = strength.update(state, view(t), choice, paid(reward))
    return state, view(len(steps))


def test_by_the_step():
    assert (Constant(3.0).at(None, view(7)) == 3).all()
    fading = Fading(first=8.0, half_life=4.0, last=2.0)
    assert [fading.at(None, view(t))[0] for t in (0, 4, 8)] == pytest.approx([8, 5, 3.5])


class TestUnsure:
    strength = Unsure(scale=2.0, most=1.5, adviser=UCB(c=1.0))

    def test_most_while_nothing_is_known(self):
        assert (self.strength.at(*after(self.strength, [])) == 1.5).all()

    def test_it_goes_by_the_favourite_s_bonus(self):
        """Arm 1 pays; ever more pulls of it make it surer, pulls of others do not."""
        arm = lambda k: Choice(np.full((2, 1), k))  # noqa: E731
        each = [(arm(0), 0), (arm(1), 1), (arm(2), 0)]
        found = [self.strength.at(*after(self.strength, each + [(arm(1), 1)] * n))[0] for n in (4, 8, 16)]
        expected = [2 * UCB(c=1.0).advise(*_ucb(each + [(arm(1), 1)] * n))["bonus"][0, 1] for n in (4, 8, 16)]
        assert found == pytest.approx(np.minimum(expected, 1.5)) and found[0] > found[1] > found[2] > 0

    def test_it_is_strongest_while_least_is_known(self):
        """By default 1 / sqrt(n) of the favourite, also after the first pull."""
        pull, strength = Choice(np.ones((2, 1), np.int64)), Unsure(scale=2.0, most=9.0)
        found = [strength.at(*after(strength, [(pull, 1)] * n))[0] for n in range(5)]
        assert found == pytest.approx([9, 2, 2 / 2**0.5, 2 / 3**0.5, 1])

    def test_an_adviser_without_a_bonus_is_refused(self):
        strength = Unsure(scale=1.0, most=1.0, adviser=Uniform())
        with pytest.raises(ValueError, match="Uniform tells no bonus"):
            strength.at(*after(strength, []))

    def test_rows_are_kept(self):
        state = self.strength.take(
            after(self.strength, [(Choice(np.array([[0], [1]])), 1)])[0], np.array([False, True])
        )
        assert self.strength.at(state, view(1, rows=1)).shape == (1,)


def _ucb(steps):
    adviser = UCB(c=1.0)
    state = adviser.start(PUBLIC, None, np.arange(2), 0)
    for t, (choice, reward) in enumerate(steps):
        state = adviser.update(state, view(t), choice, paid(reward))
    return state, view(len(steps))


class TestToEntropy:
    strength = ToEntropy(target=0.5, rate=2.0, most=3.0, least=-1.0)

    def test_up_after_too_little_and_down_after_too_much(self):
        sure, even = np.array([1.0, 0, 0]), np.full(3, 1 / 3)
        choice = Choice(np.zeros((2, 1), np.int64), np.stack([sure, even])[:, None], usage=np.ones((2, 4), np.int64))
        state, at = after(self.strength, [(choice, 1)])
        assert self.strength.at(state, at) == pytest.approx([-1 + 2 * 0.5, -1])
        state, at = after(self.strength, [(choice, 1)] * 9)
        assert self.strength.at(state, at) == pytest.approx([3, -1])

    def test_a_step_without_a_model_moves_nothing(self):
        asked, none, arm = np.ones((2, 4), np.int64), np.full((2, 4), -1), np.zeros((2, 1), np.int64)
        steps = [
            Choice(arm, np.eye(3)[[[0], [0]]], usage=asked),
            Choice(arm),
            Choice(arm, np.full((2, 1, 3), np.nan), usage=asked),
            Choice(arm, np.full((2, 1, 3), 1 / 3), usage=none),  # the first pulls of TryAll
        ]
        assert (self.strength.at(*after(self.strength, [(step, 1) for step in steps])) == 0).all()

    def test_it_needs_a_policy_and_a_target_that_can_be_met(self):
        with pytest.raises(ValueError, match="needs the policy of each step"):
            self.strength.check(PUBLIC, exact=False)
        with pytest.raises(ValueError, match=r"3 arms have at most 1\.099 nats, got 1\.5"):
            ToEntropy(target=1.5, rate=1.0, most=1.0).check(PUBLIC, exact=True)


@pytest.mark.parametrize(
    ("build", "says"),
    [
        (lambda: Unsure(scale=-2.0, most=6.0), "scale"),
        (lambda: Fading(first=1e39), "first"),
        (
            lambda: ToEntropy(target=0.5, rate=1.0, most=1.0, least=2.0).check(PUBLIC, True),
            "least: must be at most 1.0",
        ),
        (lambda: Unsure(scale=1.0, most=1.0, adviser=UCB).check(PUBLIC, True), "adviser: must be an algorithm such as"),
        (lambda: Unsure(scale=1.0, most=1.0, adviser="UCB").check(PUBLIC, True), "must be an algorithm .* got 'UCB'"),
        (
            lambda: Unsure(scale=1.0, most=1.0).check(Public("dueling", 3, 20, "bernoulli", slots=2), True),
            "strength.adviser: UCB cannot play this task",
        ),
    ],
)
def test_bad_input(build, says):
    with pytest.raises(ValueError, match=says):
        build()
