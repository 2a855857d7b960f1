"""Training as TRL does it, on pocket: what the loss is of, that games are apart, and that nothing is lost."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from datasets import Dataset
from transformers import TrainerCallback
from trl import SFTTrainer

from icrl import load_model
from icrl.agents import UCB, LLMAgent, Uniform, rollout
from icrl.envs import Bandit, UniformMeans
from icrl.finetune.answers import labels
from icrl.finetune.data import FEATURES
from icrl.finetune.diary import diary
from icrl.finetune.labels import Labels
from icrl.finetune.looks import Look, Played, best
from icrl.finetune.rows import columns
from icrl.finetune.running import TRAINED
from icrl.finetune.sft import train
from icrl.finetune.soft import Collate, SoftTrainer
from icrl.finetune.training import Training
from icrl.models.hf import TransformersModel
from icrl.prompts import Prompt, Summary

TASK = Bandit(n_arms=3, horizon=7, means=UniformMeans())
QUICK = {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 1, "logging_steps": 1, "max_steps": 4}


@pytest.fixture
def pocket():
    return load_model("pocket")


def games(pocket, label="teacher", prompt=None, share=True, episodes=3):
    agent = LLMAgent(pocket, prompt or Prompt())
    runs = rollout(Uniform(), TASK, episodes=episodes, seed=5)
    runs, writer = replace(runs, names=agent.names(TASK.public, runs.episode, 5)), agent.writer(TASK.public)
    rows = diary(writer, runs, labels(writer, runs), range(7), Labels(label, UCB())(runs), share)
    return Dataset.from_list([columns(row) for row in rows], features=FEATURES)


def trainer(pocket, rows, kind, tmp_path, **sft):
    told = Training(sft=QUICK | sft).arguments(str(tmp_path), rows)
    collate = Collate(pocket.tokenizer.pad_token_id) if kind is SoftTrainer else None
    return kind(
        model=pocket.model,
        args=told,
        train_dataset=rows,
        processing_class=pocket.tokenizer,
        data_collator=collate,
    )


def total(pocket, rows, kind, tmp_path, **sft):
    """The sum of the loss over all rows, and its gradient."""
    made = trainer(pocket, rows, kind, tmp_path, **sft)
    made.model.zero_grad()
    loss = 0.0
    for batch in made.get_train_dataloader():
        own = made.compute_loss(made.model, dict(batch), num_items_in_batch=torch.tensor(1))
        own.backward()
        loss += float(own.detach())
    return loss, torch.cat([p.grad.ravel() for p in made.model.parameters() if p.grad is not None])


@pytest.mark.parametrize(("kind", "label"), [(SFTTrainer, "taken"), (SFTTrainer, "teacher"), (SoftTrainer, "policy")])
def test_one_sequence_is_the_sum_of_its_decisions(pocket, tmp_path, kind, label):
    whole = total(pocket, games(pocket, label), kind, tmp_path)
    apart = total(pocket, games(pocket, label, share=False), kind, tmp_path)
    assert whole[0] == pytest.approx(apart[0], rel=1e-4) and whole[0] > 1
    assert (whole[1] - apart[1]).norm() < 1e-3 * whole[1].norm()


@pytest.mark.parametrize("prompt", [Prompt(), Prompt(Summary())], ids=["raw", "summary"])
def test_packing_equals_no_packing(pocket, tmp_path, prompt):
    rows = games(pocket, "teacher", prompt)
    plain, packed = (total(pocket, rows, SFTTrainer, tmp_path, packing=packing) for packing in (False, True))
    assert packed[0] == pytest.approx(plain[0], rel=1e-4)
    assert (packed[1] - plain[1]).norm() < 1e-3 * plain[1].norm()


def test_packed_games_do_not_see_each_other(pocket, tmp_path):
    """Changing one of them never changes another's logits."""
    rows = games(pocket)
    made = trainer(pocket, rows, SFTTrainer, tmp_path, packing=True)
    batch = next(iter(made.get_train_dataloader()))
    ids, positions = batch["input_ids"], batch["position_ids"]
    second = int((positions[0] == 0).nonzero()[1, 0])
    changed = ids.clone()
    changed[:, :second] = changed[:, :second].flip(1)
    with torch.no_grad():
        one, other = (made.model(input_ids=x, position_ids=positions, use_cache=False).logits for x in (ids, changed))
    torch.testing.assert_close(one[:, second:], other[:, second:], rtol=0, atol=1e-5)
    assert (one[:, 1:second] - other[:, 1:second]).abs().max() > 1


def test_soft_labels_by_hand(pocket, tmp_path):
    rows = games(pocket, "policy", episodes=1)
    loss, _ = total(pocket, rows, SoftTrainer, tmp_path)
    row = rows[0]
    with torch.no_grad():
        logp = pocket.model(torch.tensor([row["input_ids"]])).logits[0].log_softmax(dim=-1).numpy()
    policy, expected = np.reshape(row["policy"], (-1, 3)), 0.0
    for own, at in zip(policy, row["at"], strict=True):
        expected -= own @ logp[at - 1, row["choices"]]
    for i, label in enumerate(row["labels"]):
        expected -= logp[i - 1, label] * (label != -100 and i not in row["at"])
    assert loss == pytest.approx(expected, rel=1e-4)


class Stops(TrainerCallback):
    """Fails after some steps, as a machine may."""

    def __init__(self, after):
        self.after = after

    def on_step_end(self, args, state, control, **given):
        if state.global_step > self.after:
            raise KeyboardInterrupt


def regret(model, tokenizer):
    return Played([1.0, 0.8])


def learn(pocket, out, play=regret, callbacks=(), label="policy", **how):
    rows = games(pocket, label)
    told = Training(sft=QUICK | {"learning_rate": 1e-3, "warmup_steps": 0}, looks=2, **how)
    given = (rows, rows), told, out, play, label == "policy", "pocket", callbacks
    return train(pocket.model, pocket.tokenizer, *given)


def test_a_training_goes_on_where_it_stopped(pocket, tmp_path):
    whole = learn(pocket, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        learn(load_model("pocket"), tmp_path / "cut", callbacks=(Stops(2),))
    assert (tmp_path / "cut" / "checkpoint-2").is_dir()
    (tmp_path / "cut" / "checkpoint-3").mkdir()  # one that was being written
    again = learn(load_model("pocket"), tmp_path / "cut")
    assert [look.step for look in again.looks] == [look.step for look in whole.looks] == [2, 4]
    assert [look.loss for look in again.looks] == pytest.approx([look.loss for look in whole.looks], abs=1e-5)


def test_what_is_trained_is_not_trained_again(pocket, tmp_path):
    done, weights = learn(pocket, tmp_path), (tmp_path / "adapter" / "adapter_model.safetensors").stat()
    again = learn(load_model("pocket"), tmp_path, play=lambda model, tokenizer: pytest.fail("nothing is to be done"))
    assert again == done and (tmp_path / "adapter" / "adapter_model.safetensors").stat() == weights


def test_an_adapter_learns_and_is_loaded_again(pocket, tmp_path):
    done = learn(pocket, tmp_path)
    assert done.looks[-1].loss < done.looks[0].loss
    settings = json.loads((done.folder / "adapter_config.json").read_text())
    assert settings["base_model_name_or_path"] == "pocket" and str(tmp_path) not in json.dumps(settings)
    served = load_model("pocket", adapter=str(done.folder))
    runs = rollout(LLMAgent(served), TASK, episodes=2)
    plain = rollout(LLMAgent(load_model("pocket")), TASK, episodes=2)
    assert runs.probs[:, 0] != pytest.approx(plain.probs[:, 0], abs=1e-3)


def test_the_state_that_plays_best_is_kept(pocket, tmp_path):
    """Not the one with the lowest loss; how the two go together is told."""
    told = iter([0.2, 0.4, 0.5, 0.6])
    done = learn(pocket, tmp_path, lambda model, tokenizer: Played([next(told), next(told)]))
    assert done.best.step == 2 and done.looks[1].loss < done.looks[0].loss
    assert done.rank_correlation == pytest.approx(-1)
    kept, worse = (
        (folder / "adapter_model.safetensors").read_bytes() for folder in (done.folder, tmp_path / "checkpoint-4")
    )
    assert kept == (tmp_path / "checkpoint-2" / "adapter_model.safetensors").read_bytes() != worse
    assert json.loads((tmp_path / TRAINED).read_text())["best"]["step"] == 2


def test_what_cannot_be_told_apart_is_told_by_the_loss():
    """Episode by episode: that some are harder does not make states alike."""
    first, noise = np.linspace(0, 1, 64), np.random.default_rng(0).normal(0, 0.4, 64)
    near = [Look(1, 0.9, first), Look(2, 0.4, first + noise - noise.mean() + 0.05), Look(3, 0.3, first + 0.05)]
    assert best(near).step == 2 and best(near[:1]).step == 1


def test_a_state_that_leaves_the_labels_is_not_kept():
    found = [Look(1, None, [0.6], mass=0.99), Look(2, None, [0.4], mass=0.8)]
    assert best(found).step == 1 and best(found[1:]).step == 2


def test_all_weights_may_be_trained(pocket, tmp_path):
    done = learn(pocket, tmp_path, full=True)
    again = load_model(str(done.folder))
    assert isinstance(again, TransformersModel) and done.folder.name == "model"
    assert not torch.equal(again.model.lm_head.weight, load_model("pocket").model.lm_head.weight)


def test_what_is_logged_goes_where_it_is_sent(pocket, tmp_path):
    rows = games(pocket)
    told = Training(sft=QUICK | {"report_to": "tensorboard"}, looks=1)
    train(pocket.model, pocket.tokenizer, (rows, rows), told, tmp_path, regret)
    assert list(tmp_path.rglob("events*"))


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"lora": {"rank": 4}}, "lora: unknown key 'rank'"),
        ({"sft": {"max_length": 64}}, "sft.max_length: it cannot be given here: rows are never cut off"),
        ({"sft": {"save_total_limit": 1}}, "sft.save_total_limit: it cannot be given here"),
        ({"sft": {"learning_rat": 1}}, "sft: unknown key 'learning_rat', did you mean 'learning_rate'"),
        ({"full": True, "lora": {"r": 4}}, "lora: full training has no adapter"),
        ({"sft": {"learning_rate": "abc"}}, "sft.learning_rate: Input should be a valid number"),
        ({"sft": {"learning_rate": None}}, "sft.learning_rate: Input should be a valid number, got None"),
        ({"sft": {"num_train_epochs": 0}}, "sft.num_train_epochs: must be above 0, got 0"),
        ({"sft": {"gradient_accumulation_steps": 0}}, "sft.gradient_accumulation_steps: must be at least 1, got 0"),
        ({"sft": {"max_steps": 0}}, "sft.max_steps: 0 steps would train nothing"),
        ({"lora": {"r": 2.5}}, "lora.r: Input should be a valid integer"),
        ({"lora": {"r": 0}}, "lora.r: must be at least 1, got 0"),
        ({"lora": {"bias": "zzz"}}, "lora.bias: Input should be 'none', 'all' or 'lora_only', got 'zzz'"),
        ({"lora": {"init_lora_weights": "pissa"}}, "lora.init_lora_weights: 'pissa' changes the base's weights"),
    ],
)
def test_bad_settings(fields, sentence):
    with pytest.raises(ValueError, match=sentence):
        Training(**fields)


def test_numbers_that_yaml_reads_as_texts_are_numbers():
    assert Training(sft={"learning_rate": "1e-3"}).sft == {"learning_rate": 1e-3}


def test_what_trl_refuses_is_a_sentence(pocket, tmp_path):
    rows = games(pocket)
    with pytest.raises(ValueError, match="train: .*wandb"):
        train(pocket.model, pocket.tokenizer, (rows, rows), Training(sft={"report_to": "wandb"}), tmp_path, regret)


def test_a_result_that_is_gone_or_broken(pocket, tmp_path):
    """An adapter that was lost is made again of the checkpoints; what cannot be read is named."""
    done = learn(pocket, tmp_path)
    before = (done.folder / "adapter_model.safetensors").read_bytes()
    shutil.rmtree(done.folder)
    again = learn(load_model("pocket"), tmp_path)
    assert (again.folder / "adapter_model.safetensors").read_bytes() == before and again.best == done.best
    (tmp_path / TRAINED).write_text("{")
    with pytest.raises(ValueError, match=r"train: .*training.json cannot be read"):
        learn(load_model("pocket"), tmp_path)


def test_modules_that_a_model_has_not(pocket):
    with pytest.raises(
        ValueError, match="lora.target_modules: the model has none of c_attn; its linear layers are down_proj"
    ):
        Training(lora={"target_modules": ["c_attn"]}).adapter(pocket.model)


def test_other_kinds_of_adapters(pocket, tmp_path):
    """rsLoRA on pocket; DoRA on a model that it can be divided on, which pocket is not."""
    assert learn(pocket, tmp_path / "rs", lora={"use_rslora": True}).folder.is_dir()
    assert json.loads((tmp_path / "rs" / "adapter" / "adapter_config.json").read_text())["use_rslora"]
    other = load_model("pocket")
    with pytest.raises(ValueError, match=r"lora.use_dora: .*_proj has rows of zeros, by whose length DoRA divides"):
        Training(lora={"use_dora": True}).adapter(other.model)
    with pytest.raises(ValueError, match=r"lora.use_dora: .* has rows of zeros"):
        Training(lora={"use_dora": True, "target_modules": "all-linear"}).adapter(other.model)
    with torch.no_grad():
        for weight in other.model.parameters():
            weight += 1e-3 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(0))
    assert learn(other, tmp_path / "do", lora={"use_dora": True}).folder.is_dir()


def test_whole_policies_cannot_be_packed(pocket, tmp_path):
    with pytest.raises(ValueError, match=r"sft.packing: rows with whole policies cannot be packed"):
        train(
            pocket.model,
            pocket.tokenizer,
            (games(pocket, "policy"),) * 2,
            Training(sft={"packing": True}),
            tmp_path,
            regret,
            soft=True,
        )


def test_a_tokenizer_that_cannot_fill_up(pocket, tmp_path):
    rows = games(pocket)
    pocket.tokenizer.pad_token = pocket.tokenizer.eos_token = None
    with pytest.raises(ValueError, match="tokenizer: it has neither a pad nor an end token"):
        train(pocket.model, pocket.tokenizer, (rows, rows), Training(), tmp_path, regret)
