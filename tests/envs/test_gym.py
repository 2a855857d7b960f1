import subprocess
import sys
from typing import Any, NamedTuple

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode

from icrl.envs import PRESETS, Bandit, Gap, make
from icrl.envs.gym import BanditEnv, name_of
from icrl.envs.gym_vector import BanditVectorEnv
from icrl.envs.types import take

IDS = {preset: name_of(preset) for preset in PRESETS}
KINDS = ("bernoulli-hard", "dpt-linear", "linear", "contexts", "switching", "dueling", "sleeping", "movielens-k10")


def arms_for(view, world):
    """Some arms as a function of (episode, t), so that they do not depend on who else plays."""
    rolls = [np.random.default_rng((3, e, t)) for e, t in zip(view.episode, view.t, strict=True)]
    return np.array([r.integers(0, world.public.n_arms, world.public.slots) for r in rolls])


class Met(NamedTuple):
    """One step: the choice, what was seen before it, and what came of it."""

    arms: Any
    reward: float
    context: Any
    legal: Any
    terminated: bool
    truncated: bool


def played(world, episodes, seed):
    """What the world itself does, each episode step by step; choices with a missing arm are forfeited."""
    state, found = world.start(np.array(episodes), seed), {}
    while True:
        view = world.view(state)
        arms = arms_for(view, world)
        there = np.array([view.legal[r, row].all() for r, row in enumerate(arms)])
        state, outcome, _ = world.step(state, np.where(there[:, None], arms, -1))
        for row, e in enumerate(view.episode.tolist()):
            context = None if view.context is None else view.context[row].copy()
            ends = outcome.terminated[row], outcome.truncated[row]
            found.setdefault(e, []).append(Met(arms[row], outcome.reward[row], context, view.legal[row].copy(), *ends))
        over = outcome.terminated | outcome.truncated
        if over.all():
            return found
        state = take(state, ~over)


def action_of(arms):
    return arms if len(arms) > 1 else arms[0]


class TestNames:
    def test_every_preset_is_registered(self):
        registered = {name for name in gymnasium.registry if name.startswith("icrl/")}
        assert registered == set(IDS.values()) and len(set(IDS.values())) == len(PRESETS)
        assert IDS["bernoulli-hard"] == "icrl/BernoulliHard-v0"
        assert IDS["evolve-gaussian-k20-easy"] == "icrl/EvolveGaussianK20Easy-v0"

    def test_an_id_can_name_the_module_and_nothing_else_imports_gymnasium(self):
        code = """
import sys, icrl, icrl.envs; icrl.make; before = "gymnasium" in sys.modules
import gymnasium
env = gymnasium.make("icrl.envs.gym:icrl/BernoulliHard-v0", horizon=7)
print([before, env.unwrapped.spec.kwargs["horizon"], "torch" in sys.modules])
"""
        done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True)
        assert (done.stdout, done.stderr) == ("[False, 7, False]\n", "")

    def test_fields_can_be_replaced(self):
        env = gymnasium.make(IDS["bernoulli-hard"], n_arms=9)
        assert env.action_space.n == 9
        with pytest.raises(ValueError, match="did you mean 'n_arms'"):
            gymnasium.make(IDS["bernoulli-hard"], n_arm=9)
        with pytest.raises(ValueError, match="task: only a preset's fields .* horizon"):
            BanditEnv(make("linear"), horizon=3)

    def test_a_specification_survives_json(self):
        spec = gymnasium.make(IDS["linear"], horizon=7).spec
        again = gymnasium.make(gymnasium.envs.registration.EnvSpec.from_json(spec.to_json()))
        assert again.spec.kwargs == {"task": "linear", "horizon": 7}


@pytest.mark.parametrize("preset", IDS)
def test_gymnasium_finds_nothing_to_complain_about(preset):
    check_env(gymnasium.make(IDS[preset]).unwrapped)  # warnings are errors


@pytest.mark.parametrize("preset", KINDS)
class TestOne:
    def test_it_pays_what_the_world_pays(self, preset):
        world = make(preset, horizon=9)
        for e, steps in played(world, [0, 1], 4).items():
            env = gymnasium.make(IDS[preset], horizon=9)
            obs, info = env.reset(seed=4, options={"episode": e})
            for t, (arms, reward, context, legal, *_) in enumerate(steps):
                assert np.array_equal(obs, 0 if context is None else context)
                assert np.array_equal(info["action_mask"], legal) and info["action_mask"].dtype == np.bool_
                obs, paid, terminated, truncated, info = env.step(action_of(arms))
                assert paid == (0.0 if np.isnan(reward) else reward) and info["forfeited"] == np.isnan(reward)
                assert (terminated, truncated) == (False, t == 8)
                assert set(info) == {"action_mask", "forfeited"}, "and nothing of the truth"
            assert len(steps) == 9

    def test_spaces(self, preset):
        env, public = gymnasium.make(IDS[preset]), make(preset).public
        arms = gymnasium.spaces.Discrete(public.n_arms)
        pairs = gymnasium.spaces.MultiDiscrete([public.n_arms, public.n_arms])
        assert env.action_space == (pairs if public.kind == "dueling" else arms)
        shape = {"linear": (5,), "dpt-linear": (10, 2), "contexts": (3,), "movielens-k10": (6,)}.get(preset)
        assert env.observation_space.shape == (shape or ())
        assert shape or env.observation_space == gymnasium.spaces.Discrete(1)
        assert env.observation_space.contains(env.observation_space.sample())

    def test_rows_are_single_episodes(self, preset):
        """Three rounds of a vector of four are the episodes 0 to 11."""
        world, n, horizon = make(preset, horizon=5), 4, 5
        expected = played(world, range(12), 4)
        envs = gymnasium.make_vec(IDS[preset], num_envs=n, vectorization_mode="vector_entry_point", horizon=horizon)
        assert envs.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP and isinstance(envs, BanditVectorEnv)
        obs, info = envs.reset(seed=4)
        for turn in range(3):
            for t in range(horizon):
                now = [expected[n * turn + row][t] for row in range(n)]
                assert envs.observation_space.contains(obs)
                seen = [0 if cell.context is None else cell.context for cell in now]
                assert np.array_equal(obs, seen) and np.array_equal(info["action_mask"], [cell.legal for cell in now])
                obs, reward, terminated, truncated, info = envs.step(np.array([action_of(cell.arms) for cell in now]))
                assert np.array_equal(reward, np.nan_to_num([cell.reward for cell in now]))
                assert np.array_equal(info["forfeited"], np.isnan([cell.reward for cell in now]))
                assert set(info) == {"action_mask", "_action_mask", "forfeited", "_forfeited"}
                assert info["_forfeited"].all() and not terminated.any() and (truncated == (t == horizon - 1)).all()
            obs, reward, terminated, truncated, info = envs.step(envs.action_space.sample())
            assert not reward.any() and not (terminated | truncated | info["forfeited"] | info["_forfeited"]).any()


class TestRows:
    @pytest.mark.parametrize("name", ["mixture", "ending"])
    def test_rows_that_end_apart_begin_apart(self, name, fakes):
        """Parts of 3 and 5 steps, and a world that terminates: each episode is as if played alone, in order of need."""
        parts = [{"weight": 0.5, "task": make("bernoulli-easy", horizon=h).model_dump()} for h in (3, 5)]
        ending = fakes.Ending(n_arms=3, horizon=7, means=make("dpt-bernoulli").means)
        world = ending if name == "ending" else make("easy-or-hard", parts=parts)
        expected = played(world, range(60), 1)
        assert len({len(steps) for steps in expected.values()}) > 1
        envs = BanditVectorEnv(world, 5)
        envs.reset(seed=1)
        who, t, following, ends = list(range(5)), [0] * 5, 5, []
        for _ in range(30):
            now = [expected[e][at] if at < len(expected[e]) else None for e, at in zip(who, t, strict=True)]
            actions = np.array([0 if cell is None else cell.arms[0] for cell in now])
            _, reward, terminated, truncated, info = envs.step(actions)
            for row, cell in enumerate(now):
                met = (reward[row], terminated[row], truncated[row], info["_forfeited"][row])
                if cell is None:
                    assert met == (0.0, False, False, False)
                    who[row], t[row], following = following, 0, following + 1
                else:
                    assert met == (np.nan_to_num(cell.reward), cell.terminated, cell.truncated, True)
                    t[row] += 1
                    ends.append(cell.terminated)
        assert following > 15 and len(set(t)) > 1, "they are not in step any more"
        assert any(ends) == (name == "ending")

    def test_rollouts_are_repeated(self):
        """What UCB chose on the world is paid the same in both kinds of environment."""
        import icrl

        task = make("bernoulli-hard", horizon=30)
        runs = icrl.rollout(icrl.UCB(), task, episodes=4, seed=3)
        envs, env = BanditVectorEnv(task, 4), BanditEnv(task)
        envs.reset(seed=3)
        assert np.array_equal(np.stack([envs.step(arms)[1] for arms in runs.arms.T], axis=1), runs.rewards)
        for e in range(4):
            env.reset(**({"seed": 3} if e == 0 else {}))
            assert [env.step(arm)[1] for arm in runs.arms[e]] == runs.rewards[e].tolist()


class TestReset:
    LUCK = Bandit(n_arms=2, horizon=40, means=Gap(best=0.5, gap=0.1))

    def rewards(self, env, **how):
        env.reset(**how)
        return [env.step(0)[1] for _ in range(40)]

    def expected(self, seed, episode):
        return list(_zeros(self.LUCK, episode, seed))

    def test_it_goes_to_the_next_episode_of_the_seed(self):
        env = BanditEnv(self.LUCK)
        for how, seed, episode in [
            ({"seed": 5}, 5, 0),
            ({}, 5, 1),
            ({"options": {"episode": 7}}, 5, 7),
            ({}, 5, 8),
            ({"seed": 5}, 5, 0),
            ({"seed": 6, "options": {"episode": np.int64(3)}}, 6, 3),
            ({"options": {}}, 6, 4),
        ]:
            assert self.rewards(env, **how) == self.expected(seed, episode), how

    def test_without_a_seed_one_is_drawn(self):
        one, other = self.rewards(BanditEnv(self.LUCK)), self.rewards(BanditEnv(self.LUCK))
        assert one != other
        env = BanditEnv(self.LUCK)
        env.np_random = np.random.default_rng(8)
        drawn = int(np.random.default_rng(8).integers(2**31))
        assert self.rewards(env) == self.expected(drawn, 0) and self.rewards(env) == self.expected(drawn, 1)

    def test_a_vector_goes_on_where_it_stopped(self):
        envs = BanditVectorEnv(self.LUCK, 3)
        for how, episodes in [({"seed": 5}, [0, 1, 2]), ({}, [3, 4, 5]), ({"options": {"episode": 1}}, [1, 2, 3])]:
            envs.reset(**how)
            found = np.stack([envs.step(np.zeros(3, np.int64))[1] for _ in range(40)], axis=1)
            assert found.tolist() == [self.expected(5, e) for e in episodes]

    @pytest.mark.parametrize("kind", [BanditEnv, BanditVectorEnv])
    @pytest.mark.parametrize(
        ("options", "says"),
        [
            ({"episode": -1}, "options.episode: must be a whole number from 0 on, got -1"),
            ({"episode": 1.5}, "options.episode: .* got 1.5"),
            ({"episodes": 1}, "options: unknown key 'episodes', did you mean 'episode'"),
        ],
    )
    def test_bad_options_are_refused(self, kind, options, says):
        with pytest.raises(ValueError, match=says):
            kind(self.LUCK).reset(seed=1, options=options)

    def test_bad_actions_are_refused(self):
        env, envs = BanditEnv(self.LUCK), BanditVectorEnv(self.LUCK, 2)
        for one, bad in [(env, 2), (env, -1), (env, 0.0), (envs, np.array([0, 2])), (envs, np.array([0.0, 1.0]))]:
            with pytest.raises(gymnasium.error.ResetNeeded, match="call reset first"):
                type(one)(self.LUCK).step(bad)
            one.reset(seed=0)
            with pytest.raises(ValueError, match="action: must lie in"):
                one.step(bad)


def _zeros(world, episode, seed):
    """What arm 0 pays at all steps of one episode."""
    state = world.start(np.array([episode]), seed)
    for _ in range(world.horizon):
        state, outcome, _ = world.step(state, np.zeros((1, 1), np.int64))
        yield float(outcome.reward[0])


def test_gymnasiums_own_vectors_and_wrappers_take_them():
    envs = gymnasium.make_vec(IDS["bernoulli-easy"], num_envs=2, vectorization_mode="sync", horizon=6)
    recorded = gymnasium.wrappers.vector.RecordEpisodeStatistics(
        gymnasium.make_vec(IDS["bernoulli-easy"], num_envs=2, horizon=6)
    )
    recorded.reset(seed=0)
    envs.reset(seed=0)
    total = 0.0
    for _ in range(6):
        envs.step(np.array([0, 1]))
        _, reward, _, truncated, info = recorded.step(np.array([0, 1]))
        total += reward
    assert truncated.all() and info["episode"]["l"].tolist() == [6, 6]
    assert info["episode"]["r"].tolist() == total.tolist()


def test_a_step_after_the_end_is_an_error():
    env = BanditEnv("bernoulli-hard", horizon=2)
    env.reset(seed=0)
    assert [env.step(0)[3] for _ in range(2)] == [False, True]
    with pytest.raises(gymnasium.error.ResetNeeded, match="the episode is over"):
        env.step(0)


@pytest.mark.parametrize("num_envs", [0, -1, 2.5])
def test_a_number_of_rows(num_envs):
    with pytest.raises(ValueError, match="num_envs"):
        BanditVectorEnv("bernoulli-hard", num_envs=num_envs)


def test_options_are_a_mapping():
    with pytest.raises(ValueError, match="options: must be a mapping"):
        BanditEnv("bernoulli-hard").reset(seed=0, options=["episode"])
