"""The label channel: built, only its sizes are learnt, and the same for all labels."""

from copy import deepcopy
from itertools import combinations

import numpy as np
import pytest
import torch

import icrl
from icrl.finetune import channel
from icrl.finetune.batches import Batches
from icrl.finetune.channel import MARKS, SIZE
from icrl.finetune.corpus import Corpus
from icrl.finetune.heldout import held_out, words
from icrl.finetune.network import new_model
from icrl.finetune.population import Diaries
from icrl.models.hf import TransformersModel


@pytest.fixture(scope="module")
def labels(tokenizer):
    return [tokenizer.encode(word, add_special_tokens=False)[0] for word in words()]


@pytest.fixture
def model(tokenizer):
    torch.manual_seed(0)
    return new_model(tokenizer)


def learn(model, tokenizer):
    """Some steps that change all that can change."""
    data = Batches(Corpus(tokenizer, source=Diaries(longest=8, warmup=1), tokens=300), 3, tokenizer.pad_token_id)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for i in range(3):
        model(input_ids=data[i]["input_ids"], labels=data[i]["labels"]).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return model.eval()


def marks(model):
    return model.model.embed_tokens.weight.detach()[:, :SIZE] != 0


def test_each_label_has_marks_of_its_own_and_no_other_token_has_any(model, labels):
    found = marks(model)
    assert (found[labels].sum(dim=1) == MARKS).all() and found.sum() == MARKS * len(labels)
    assert len({tuple(row) for row in found[labels].tolist()}) == len(labels)
    rest = model.model.embed_tokens.weight[labels, SIZE:]
    assert torch.equal(rest, rest[:1].expand_as(rest)), "elsewhere all labels are alike"


def test_of_it_only_sizes_are_learnt(model, tokenizer, labels):
    before = deepcopy(model)
    learn(model, tokenizer)
    old, new = (m.model.embed_tokens.weight.detach() for m in (before, model))
    assert torch.equal(old[labels], new[labels]) and torch.equal(marks(before), marks(model))
    assert not torch.equal(old, new)
    for was, now in zip(before.model.layers, model.model.layers, strict=True):
        for name in ("q_proj", "k_proj", "v_proj"):
            a, b = (getattr(layer.self_attn, name).weight for layer in (was, now))
            assert same_zeros(a[:, :SIZE], b[:, :SIZE]), f"{name} reads the channel where it did"
            assert not torch.equal(a[:, SIZE:], b[:, SIZE:]), name
        assert same_zeros(was.self_attn.o_proj.weight[:SIZE], now.self_attn.o_proj.weight[:SIZE])
        assert same_zeros(was.mlp.down_proj.weight[:SIZE], now.mlp.down_proj.weight[:SIZE])
    copied = [layer.self_attn.o_proj.weight[:SIZE, :SIZE] for layer in model.model.layers[-2:]]
    for sizes in (*(weight.diag() for weight in copied), model.model.norm.weight[:SIZE]):
        torch.testing.assert_close(sizes, sizes[:1].expand_as(sizes))
    assert not torch.equal(*(weight.diag() for weight in copied))


def same_zeros(a, b):
    return torch.equal(a != 0, b != 0)


def exchanged(model, tokenizer, labels):
    """Logits after a list of three labels without a common mark, and those after the list with two of them exchanged.

    The second ones are exchanged back.
    """
    found = marks(model)
    apart = (set(combinations(three, 2)) for three in combinations(labels[:40], 3))
    pairs = next(pairs for pairs in apart if not any((found[x] & found[y]).any() for x, y in pairs))
    a, b, c = sorted({x for pair in pairs for x in pair})
    begin, end = (tokenizer.encode(text, add_special_tokens=False) for text in ("The buttons are:\n", "<|assistant|>"))
    with torch.no_grad():
        one, other = (model(torch.tensor([[*begin, *row, *end]])).logits[0, -1] for row in ((a, b, c), (b, a, c)))
    rest = np.setdiff1d(np.arange(len(tokenizer)), labels)
    return one[[a, b, c, *rest]], other[[b, a, c, *rest]]


@pytest.mark.parametrize("steps", ["untrained", "trained"])
def test_exchanged_labels_are_exchanged_in_the_answer(steps, monkeypatch, tokenizer, labels):
    """Exactly, without the heads whose projection of marks is random."""
    monkeypatch.setattr(channel, "_match", lambda *_: None)
    torch.manual_seed(0)
    model = new_model(tokenizer).eval()
    model = learn(model, tokenizer) if steps == "trained" else model
    torch.testing.assert_close(*exchanged(model, tokenizer, labels), atol=1e-4, rtol=1e-4)


def test_with_these_heads_nearly_so(model, tokenizer, labels):
    one, other = (logits[:3].softmax(0) for logits in exchanged(model.eval(), tokenizer, labels))
    assert 0 < (one - other).abs().sum() / 2 < 0.1


def test_untrained_it_names_a_label_of_the_prompt_without_preference(model, tokenizer):
    served = TransformersModel("untrained", model.eval(), tokenizer)
    agent = icrl.LLMAgent(served, icrl.Prompt(labels=held_out("buttons")))
    runs = icrl.rollout(agent, icrl.make("bernoulli-hard", horizon=1), episodes=64)
    assert runs.mass.mean() > 0.9 and icrl.metrics.action_entropy(runs).mean() > 0.5 * np.log(5)
