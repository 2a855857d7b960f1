"""Reinforcement as TRL does it, on pocket: who is compared with whom, what carries gradient, and by how much."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import TrainerCallback

from icrl import load_model
from icrl.agents import UCB, Uniform, rollout
from icrl.envs import Bandit, UniformMeans
from icrl.envs.again import Again
from icrl.finetune.grpo import Episodic, chosen, reinforce, trainer_of
from icrl.finetune.looks import Played
from icrl.finetune.reinforcement import Reinforcement
from icrl.finetune.training import Training
from icrl.prompts import Hints, Prompt, Summary

TASK = Bandit(n_arms=2, horizon=6, means=UniformMeans())
QUICK = Reinforcement(steps=4, games=2, plays=3, grpo={"learning_rate": 1e-3})


@pytest.fixture
def pocket():
    return load_model("pocket")


def plays(by=QUICK, prompt=None, teacher=None):
    return Episodic(lambda rng: (TASK, prompt or Prompt()), by.earned(teacher), by.plays, 0)


def regret(model, tokenizer):
    return Played([1.0, 0.8])


def learn(pocket, out, by=QUICK, looks=2, callbacks=(), **training):
    given = plays(by), (by, Training(looks=looks, **training)), out, regret, "pocket", callbacks
    return reinforce(pocket.model, pocket.tokenizer, *given)


@pytest.fixture
def batch(pocket, tmp_path):
    """A trainer and the batch that it would learn, all of it at once."""
    by = Reinforcement(steps=1, games=2, plays=3, grpo={"per_device_train_batch_size": 6})
    made = trainer_of(pocket.model, pocket.tokenizer, plays(by), (by, Training(full=True)), tmp_path)
    made.model.train()
    made.current_gradient_accumulation_steps = 1
    return made, made._prepare_inputs(next(iter(made.get_train_dataloader())))


def test_plays_of_one_game_have_one_luck():
    """And draws of their own."""
    runs = rollout(Uniform(), Again(TASK, 4), episodes=16, seed=3)
    apart = rollout(Uniform(), TASK, episodes=4, seed=3)
    assert runs.means == pytest.approx(np.repeat(apart.means, 4, axis=0))
    assert all(len({row.tobytes() for row in runs.arms[i : i + 4]}) == 4 for i in range(0, 16, 4))
    same = runs.arms[:, 0] == runs.arms[[i // 4 * 4 for i in range(16)], 0]
    assert (runs.rewards[same, 0] == runs.rewards[[i // 4 * 4 for i in range(16)], 0][same]).all()


def test_an_advantage_is_beyond_the_other_plays(pocket, batch):
    _made, inputs = batch
    rows, played = plays().played(pocket, 0, np.arange(6))
    earned = -played.gap.mean(axis=1).reshape(2, 3)
    assert np.ptp(earned, axis=1).max() > 0
    others = (earned.sum(axis=1, keepdims=True) - earned) / 2
    expected = {tuple(row.ids.tolist()): a for row, a in zip(rows, (earned - others).ravel(), strict=True)}
    ids = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], dim=1)
    mask = torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], dim=1).bool()
    for own, there, advantage in zip(ids, mask, inputs["advantages"], strict=True):
        assert float(advantage) == pytest.approx(expected[tuple(own[there].tolist())], abs=1e-6)


def test_only_choices_are_learnt(pocket):
    rows, played = plays().played(pocket, 0, np.arange(6))
    for row, names, arms in zip(rows, played.names, played.arms, strict=True):
        said = [pocket.tokenizer.decode([token]).strip() for token in row.ids[chosen(row)]]
        assert said == [names[arm] for arm in arms]


def test_the_loss_by_hand(pocket, batch):
    """Advantage times log-probability in the whole vocabulary, over the tokens of choices, and nothing else."""
    made, inputs = batch
    made.model.zero_grad()
    loss = made.compute_loss(made.model, dict(inputs))
    loss.backward()
    grads = torch.cat([p.grad.ravel() for p in made.model.parameters()])
    made.model.zero_grad()
    rows, played = plays().played(pocket, 0, np.arange(6))
    made.model.train()
    earned = -played.gap.mean(axis=1).reshape(2, 3)
    advantages = (1.5 * (earned - earned.mean(axis=1, keepdims=True))).ravel()
    total = 0.0
    for row, advantage in zip(rows, advantages.tolist(), strict=True):
        at = np.flatnonzero(chosen(row))
        logp = made.model(torch.tensor(row.ids[None]).long()).logits[0].log_softmax(dim=-1)
        total = total - advantage * logp[at - 1, row.ids[at]].sum()
    (total / (6 * 6)).backward()
    ours = torch.cat([p.grad.ravel() for p in made.model.parameters()])
    assert (grads - ours).norm() < 1e-3 * ours.norm() and ours.norm() > 0


def test_probabilities_are_of_the_whole_vocabulary(pocket, batch):
    """Those of the play, which are over the labels, times the probability of all labels."""
    made, inputs = batch
    ids = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], dim=1)
    mask = torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], dim=1)
    keep = inputs["completion_ids"].shape[1]
    with torch.no_grad():
        logps = made._get_per_token_logps_and_entropies(made.model, ids, mask, keep)[0]
    rows, played = plays().played(pocket, 0, np.arange(6))
    wanted = {}
    for row, arms, probs, mass in zip(rows, played.arms, played.probs, played.mass, strict=True):
        wanted[tuple(row.ids.tolist())] = np.log(probs[np.arange(6), arms] * mass)
    for own, there, logp, learnt in zip(ids, mask.bool(), logps, inputs["tool_mask"], strict=True):
        cells = (learnt * there[-keep:]).bool()
        assert logp[cells].numpy() == pytest.approx(wanted[tuple(own[there].tolist())], abs=1e-4)


def test_a_step_makes_what_earned_more_more_likely(pocket, tmp_path):
    rows, played = plays().played(pocket, 0, np.arange(6))
    earned = -played.gap.mean(axis=1).reshape(2, 3)
    advantages = (earned - earned.mean(axis=1, keepdims=True)).ravel()

    def likely(model):
        found = []
        for row in rows:
            at = np.flatnonzero(chosen(row))
            with torch.no_grad():
                logp = model(torch.tensor(row.ids[None]).long()).logits[0].log_softmax(dim=-1)
            found.append(float(logp[at - 1, row.ids[at]].sum()))
        return advantages @ np.array(found)

    before = likely(pocket.model.eval())
    by = Reinforcement(steps=1, games=2, plays=3, grpo={"learning_rate": 1e-4, "warmup_steps": 0})
    done = learn(load_model("pocket"), tmp_path, by, looks=1)
    after = load_model("pocket", adapter=str(done.folder))
    assert likely(after.model.eval()) > before


class Stops(TrainerCallback):
    """Fails after some steps, as a machine may."""

    def on_step_end(self, args, state, control, **given):
        if state.global_step > 2:
            raise KeyboardInterrupt


def test_it_goes_on_where_it_stopped(pocket, tmp_path):
    learn(pocket, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        learn(load_model("pocket"), tmp_path / "cut", callbacks=(Stops(),))
    again = learn(load_model("pocket"), tmp_path / "cut")
    assert [look.step for look in again.looks] == [2, 4] and again.best.loss is None
    ours, theirs = (json.loads((tmp_path / name / "training.json").read_text())["log"] for name in ("whole", "cut"))
    rewards = [[entry["reward"] for entry in log if "reward" in entry] for log in (ours, theirs)]
    assert rewards[0] == pytest.approx(rewards[1]) and len(set(rewards[0])) > 1
    assert learn(load_model("pocket"), tmp_path / "cut") == again


@pytest.mark.parametrize("reward", ["return", "regret", "agreement"])
def test_what_is_earned(reward):
    runs = rollout(UCB(alpha=0.5), TASK, episodes=8, seed=1)
    earned = Reinforcement(reward=reward).earned(UCB(alpha=0.5))(runs)
    expected = {"return": runs.rewards.mean(axis=1), "regret": -runs.gap.mean(axis=1)}
    if reward in expected:
        assert earned == pytest.approx(expected[reward])
    else:  # a teacher agrees with itself, but for ties, of which it draws
        assert earned.min() > 0.5 and earned.max() <= 1
        other = rollout(Uniform(), TASK, episodes=8, seed=1)
        assert Reinforcement(reward=reward).earned(UCB(alpha=0.5))(other).mean() < earned.mean()


def test_regret_that_nobody_knows():
    runs = rollout(Uniform(), TASK, episodes=4)
    with pytest.raises(ValueError, match=r"reinforce.reward: the task does not tell its regret; use return"):
        QUICK.earned(None)(replace(runs, gap=np.full_like(runs.gap, np.nan)))


@pytest.mark.parametrize("prompt", [Prompt(Summary()), Prompt(hints=Hints(UCB())), Prompt(layout="log")])
def test_prompts_that_cannot_be_reinforced(pocket, prompt):
    with pytest.raises(ValueError, match="prompt: reinforcement needs a raw history in turns without hints"):
        plays(prompt=prompt).played(pocket, 0, np.arange(2))


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"grpo": {"num_generations": 4}}, "grpo.num_generations: it cannot be given here: give plays"),
        ({"grpo": {"learning_rat": 4}}, "grpo: unknown key 'learning_rat', did you mean 'learning_rate'"),
        ({"grpo": {"temperature": 0.3}}, "grpo.temperature: it cannot be given here"),
        ({"plays": 1}, "plays"),
    ],
)
def test_bad_settings(fields, sentence):
    with pytest.raises(ValueError, match=sentence):
        Reinforcement(**fields)


def test_settings_that_do_not_go_together(tmp_path):
    by = Reinforcement(games=2, plays=3, grpo={"per_device_train_batch_size": 4})
    with pytest.raises(ValueError, match=r"games \* plays = 6 must be a multiple of it .*, 1; got 4"):
        by.arguments(str(tmp_path), 0, 1)
    with pytest.raises(ValueError, match="grpo: "):
        Reinforcement(grpo={"auto_find_batch_size": True}).arguments(str(tmp_path), 0, 1)
    with pytest.raises(ValueError, match="reinforce.reward: agreement needs a teacher"):
        Reinforcement(reward="agreement").earned(None)


def test_what_trl_refuses_is_a_sentence(pocket, tmp_path):
    by = Reinforcement(steps=1, games=1, plays=2, grpo={"report_to": "wandb"})
    with pytest.raises(ValueError, match="reinforce: .*wandb"):
        trainer_of(pocket.model, pocket.tokenizer, plays(by), (by, Training()), tmp_path)
