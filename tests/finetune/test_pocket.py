import torch

from icrl.finetune.corpus import Corpus
from icrl.finetune.heldout import held_out
from icrl.finetune.pocket import Batches, new_model, new_tokenizer
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
    words = [label for story in scenarios().values() for label in story.labels]
    ids = [tokenizer.encode(word, add_special_tokens=False)[0] for word in words]
    assert not moved[ids].any() and moved[tokenizer.encode("<|end|>", add_special_tokens=False)[0]]
    assert {word for name in scenarios() for word in held_out(name)} <= set(words)
