import numpy as np
import pytest

from icrl.envs import Public
from icrl.finetune.corpus import Corpus
from icrl.finetune.heldout import STORIES
from icrl.finetune.population import Diaries
from icrl.finetune.tokenizer import MARKERS, TEMPLATE, build, letters
from icrl.prompts import Chat, Pieces, Prompt, Writer, scenarios
from icrl.prompts.instructions import SENTENCES

COINS, NUMBERS = (Public("bandit", 5, 100, family) for family in ("bernoulli", "gaussian"))


@pytest.fixture(scope="module", params=["shipped", "built"])
def tokenizer(request, tokenizer):
    """The one that pocket has, and a new one."""
    if request.param == "shipped":
        return tokenizer
    texts = [text for name in STORIES for text in scenarios()[name].texts.values()]
    return build([text for text in (*texts, *SENTENCES) for _ in range(50)], 16_384)


def ids(tokenizer, text):
    return tokenizer.encode(text, add_special_tokens=False)


@pytest.mark.parametrize("story", scenarios())
def test_every_label_is_one_token_of_its_own(story, tokenizer):
    found = [ids(tokenizer, label) for label in scenarios()[story].labels]
    assert all(len(tokens) == 1 for tokens in found)
    assert len({tokens[0] for tokens in found}) == len(found)


def test_every_marker_is_one_token(tokenizer):
    assert [len(ids(tokenizer, marker)) for marker in MARKERS] == [1] * len(MARKERS)
    assert tokenizer.eos_token == "<|end|>" and tokenizer.pad_token == "<|pad|>"


@pytest.mark.parametrize("layout", ["turns", "log"])
@pytest.mark.parametrize("story", STORIES)
def test_a_raw_step_has_at_most_nine_tokens(story, layout, tokenizer):
    for public, rewards in ((COINS, (0.0, 1.0)), (NUMBERS, np.linspace(-9.99, 9.99, 400))):
        writer = Writer(Prompt(scenario=story, layout=layout), public, Pieces(tokenizer), Chat.of(tokenizer))
        for reward in rewards:
            word = writer.prompt.words[0]
            assert sum(map(len, writer.step(writer.encode(word), (word,), float(reward)))) <= 9


def test_any_text_can_be_written(tokenizer):
    for text in ("Ünïcode, 木 and \t tabs", "a" * 50, "\x00\x7f", "1234567.89", " two  spaces "):
        assert tokenizer.decode(ids(tokenizer, text)) == text


@pytest.mark.parametrize("story", STORIES)
def test_texts_of_the_scenarios_survive(story, tokenizer):
    for text in scenarios()[story].model_dump(exclude={"labels"}).values():
        assert tokenizer.decode(ids(tokenizer, text)) == text


def test_the_template_is_the_chat(tokenizer):
    talk = [
        {"role": "system", "content": "s"},
        {"role": "user", "content": "u"},
        {"role": "assistant", "content": "a"},
        {"role": "user", "content": "v"},
    ]
    text = tokenizer.apply_chat_template(talk, tokenize=False, add_generation_prompt=True)
    assert text == "<|system|>s<|user|>u<|assistant|>a<|end|><|user|>v<|assistant|>"
    assert Chat.of(tokenizer).after == "<|end|><|user|>"
    assert tokenizer.chat_template == TEMPLATE and len(tokenizer) <= 4096


def test_too_small_a_vocabulary_is_refused():
    with pytest.raises(ValueError, match="vocabulary: 400 entries are too few"):
        build(["hello"], 100, vocabulary=400)


def test_diaries_can_be_written_letter_by_letter():
    """Before there is a vocabulary: many labels then begin alike."""
    corpus = Corpus(letters(), seed=1, source=Diaries(warmup=1, taught=False), tokens=1000)
    plain = letters()
    for i in range(1, 25):
        assert all(plain.decode(row.ids).endswith("<|end|>") for row in corpus.batch(i))
