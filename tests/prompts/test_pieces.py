"""Pieces of text, with tokenizers of all kinds."""

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from icrl.prompts import Pieces

TEXTS = ("You press", "\n", "red", "navy blue", "Reward 1 (", ")", "")


def spaced(scheme):
    """As SentencePiece makes them: a space is put before each text ("always"), or none ("never")."""
    words = ["<unk>", *(f"{lead}{c}" for c in map(chr, range(32, 127)) for lead in ("", "▁")), "▁", "\n"]
    vocabulary = {word: i for i, word in enumerate(dict.fromkeys(words))}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme)
    tokenizer.decoder = decoders.Metaspace(prepend_scheme=scheme)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer)


@pytest.mark.parametrize("scheme", ["always", "never"])
def test_no_space_is_put_between_pieces(scheme):
    tokenizer = spaced(scheme)
    encode = Pieces(tokenizer)
    said = tokenizer.decode([i for text in TEXTS for i in encode(text).tolist()])
    assert said == "".join(TEXTS)


def test_the_space_would_be_there_otherwise():
    tokenizer = spaced("always")
    open_, red = (tokenizer.encode(text, add_special_tokens=False) for text in ("(", "red"))
    assert tokenizer.decode(open_ + red) == "( red"


def test_each_text_meets_the_tokenizer_once(fakes, tokenizer):
    counting = fakes.CountingTokenizer(tokenizer)
    encode = Pieces(counting)
    expected = [tokenizer.encode(text, add_special_tokens=False) for text in TEXTS]
    for _ in range(3):
        assert [encode(text).tolist() for text in TEXTS] == expected
    assert [counting.encoded.count(text) for text in TEXTS] == [1] * len(TEXTS)
