from functools import partial

import pytest
import torch

import icrl
from icrl.finetune import pocket
from icrl.finetune.corpus import Corpus
from icrl.finetune.heldout import STORIES, held_out
from icrl.finetune.network import new_model, new_tokenizer
from icrl.finetune.pocket import Batches
from icrl.finetune.rows import IGNORE
from icrl.prompts import scenarios


def test_the_tokenizer_is_the_one_of_these_tests(tokenizer):
    """`fakes.word_tokenizer` builds it without torch; what is tested there must hold here."""
    found = new_tokenizer()
    assert found.get_vocab() == tokenizer.get_vocab() and found.chat_template == tokenizer.chat_template


def test_embeddings_of_labels_stay_as_they_were_drawn(tokenizer):
    torch.manual_seed(0)
    model = new_model(tokenizer)
    data = Batches(Corpus(tokenizer, longest=8, episodes=4), 3, tokenizer.pad_token_id)
    assert len(data) == 3
    batch = data[0]
    before = model.model.embed_tokens.weight.detach().clone()
    out = model(input_ids=batch["input_ids"]).logits[:, :-1]
    wanted = batch["labels"][:, 1:]
    torch.nn.functional.cross_entropy(out.flatten(0, 1), wanted.flatten(), ignore_index=IGNORE).backward()
    torch.optim.SGD(model.parameters(), lr=1.0).step()
    moved = (model.model.embed_tokens.weight != before).any(dim=1)
    words = [label for name in STORIES for label in scenarios()[name].labels]
    ids = [tokenizer.encode(word, add_special_tokens=False)[0] for word in words]
    assert not moved[ids].any() and moved[tokenizer.encode("<|end|>", add_special_tokens=False)[0]]
    assert {word for name in STORIES for word in held_out(name)} <= set(words)


def test_the_loss_is_that_of_the_policy_and_of_the_words():
    """Two decisions, of two labels each, and an end to be said."""
    logits = torch.randn(3, 9, generator=torch.Generator().manual_seed(0))
    found = pocket.loss(logits, torch.tensor([5, 0, 8]), torch.tensor([[5, 6], [5, 6], [7, 8]]))
    words = -logits.log_softmax(1)[[0, 1, 2], [5, 0, 8]].mean()
    policy = -(logits[0, [5, 6]].log_softmax(0)[0] + logits[2, [7, 8]].log_softmax(0)[1]) / 2
    assert found == pytest.approx(float((policy + pocket.FREE * words) * (2 / pocket.MANY) ** 0.5))


def test_training_continues_from_its_last_checkpoint(tmp_path, monkeypatch):
    monkeypatch.setattr(pocket, "Corpus", partial(Corpus, longest=8, warmup=1, episodes=2))
    pocket.train(tmp_path / "cut", steps=2, seed=0, save_every=1)
    pocket.train(tmp_path / "cut", steps=3, seed=0, save_every=1)
    assert {path.name for path in (tmp_path / "cut").glob("checkpoint-*")} == {"checkpoint-2", "checkpoint-3"}
    model = icrl.load_model(tmp_path / "cut" / "model")
    runs = icrl.rollout(icrl.LLMAgent(model), icrl.make("bernoulli-easy", horizon=3), episodes=2)
    assert runs.lengths.tolist() == [3, 3]
