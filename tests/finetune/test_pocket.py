"""The training of `pocket`, with tiny batches."""

import math
from functools import partial

import pytest
import torch
import typer
from typer.testing import CliRunner

import icrl
from icrl.finetune import pocket
from icrl.finetune.batches import IGNORE, Batches, loss
from icrl.finetune.corpus import Corpus
from icrl.finetune.network import new_model
from icrl.finetune.population import Diaries


@pytest.fixture(scope="module")
def small(tokenizer):
    return Batches(Corpus(tokenizer, source=Diaries(longest=8, warmup=1), tokens=300), 3, tokenizer.pad_token_id)


def test_a_batch_wants_all_text_but_the_padding(small, tokenizer):
    batch = small[1]
    assert len(small) == 3 and batch["input_ids"].shape == batch["labels"].shape == batch["answers"].shape
    filled = batch["input_ids"] != tokenizer.pad_token_id
    assert (batch["labels"][filled] == batch["input_ids"][filled]).all() and (batch["labels"][~filled] == IGNORE).all()
    assert (
        batch["answers"].any(dim=1).all() and not batch["answers"][~filled].any() and not batch["answers"][:, 0].any()
    )


def test_the_loss_is_half_of_all_text_and_half_of_the_answers():
    logits = torch.randn(3, 9, generator=torch.Generator().manual_seed(0))
    wanted, says = torch.tensor([5, 0, 8]), torch.tensor([False, True, False])
    none = torch.zeros(3, 2)
    choices = torch.tensor([[4, 5], [0, 1], [7, 8]])
    each = -logits.log_softmax(1)[[0, 1, 2], wanted]
    assert float(loss(logits, wanted, says, none, choices)) == pytest.approx(float(each.mean() + each[1]) / 2)
    policy = torch.tensor([[0, 0], [0.25, 0.75], [0, 0]])
    each[1] = -(policy[1] * logits[1].log_softmax(0)[:2]).sum()
    assert float(loss(logits, wanted, says, policy, choices)) == pytest.approx(float(each.mean() + each[1]) / 2)


def test_a_batch_without_answers_has_a_loss():
    none = torch.zeros(4, 3)
    found = loss(torch.zeros(4, 10), torch.arange(4), torch.zeros(4, dtype=torch.bool), none, none.long())
    assert float(found) == pytest.approx(math.log(10) / 2)


def interrupt(*_):
    raise KeyboardInterrupt


def test_training_continues_from_its_last_checkpoint(tmp_path, monkeypatch, tokenizer):
    monkeypatch.setattr(pocket, "Corpus", partial(Corpus, source=Diaries(longest=8, warmup=1), tokens=300))
    monkeypatch.setattr(pocket, "new_tokenizer", lambda: tokenizer)
    monkeypatch.setattr(pocket, "LOOK", 2)
    monkeypatch.setattr(pocket, "played", partial(pocket.played, episodes=2))
    pocket.train(tmp_path / "whole", steps=3, seed=0, save_every=10)
    with monkeypatch.context() as cut, pytest.raises(KeyboardInterrupt):
        cut.setattr(pocket, "played", interrupt)
        pocket.train(tmp_path / "cut", steps=3, seed=0, save_every=1)
    assert {path.name for path in (tmp_path / "cut").glob("checkpoint-*")} == {"checkpoint-1"}
    pocket.train(tmp_path / "cut", steps=3, seed=0, save_every=1)
    whole, cut = (icrl.load_model(tmp_path / name / "model") for name in ("whole", "cut"))
    assert whole.model.dtype == torch.float32 and whole.model.lm_head.weight is whole.model.model.embed_tokens.weight
    assert (tmp_path / "whole" / "model" / "model.safetensors").stat().st_size < 2.1 * whole.model.num_parameters()
    for a, b in zip(whole.model.parameters(), cut.model.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=0)
    with pytest.raises(ValueError, match=r"out: .* holds a training with \{'steps': 3, 'seed': 0\}, not .*'seed': 5"):
        pocket.train(tmp_path / "cut", steps=3, seed=5, save_every=1)
    log = (tmp_path / "whole" / "model" / "training.json").read_text()
    assert "bernoulli-hard: regret" in log and "bernoulli-easy: mass" in log


def test_a_tokenizer_that_splits_labels_is_refused(letters):
    with pytest.raises(ValueError, match="tokenizer: it must have a token for each label"):
        new_model(letters)


@pytest.mark.parametrize("wrong", [("--steps", "0"), ("--seed", "-1"), ("--save-every", "0")])
def test_wrong_settings_of_the_command(wrong, tmp_path):
    app = typer.Typer()
    app.command()(pocket.main)
    done = CliRunner().invoke(app, [str(tmp_path / "out"), *wrong])
    assert done.exit_code == 2 and wrong[0] in done.output and not (tmp_path / "out").exists()
