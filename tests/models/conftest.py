"""Tiny random models of the kinds of attention that occur."""

from types import SimpleNamespace

import pytest
import torch
import transformers as hf

from icrl.models.hf import TransformersModel

VOCABULARY, WINDOW = 300, 512
SIZE = {"vocab_size": VOCABULARY, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
BLOCK = SIZE | {"intermediate_size": 48, "num_key_value_heads": 2, "max_position_embeddings": WINDOW}
SLIDING = BLOCK | {"sliding_window": 16, "head_dim": 8}

KINDS = {  # kind: (configuration, attention)
    "qwen3": lambda: (hf.Qwen3Config(**BLOCK, head_dim=8), "sdpa"),
    "llama": lambda: (hf.LlamaConfig(**BLOCK), "sdpa"),
    "llama-eager": lambda: (hf.LlamaConfig(**BLOCK), "eager"),
    "gpt2": lambda: (hf.GPT2Config(vocab_size=VOCABULARY, n_embd=32, n_layer=2, n_head=4, n_positions=WINDOW), "sdpa"),
    "mistral-sliding": lambda: (hf.MistralConfig(**SLIDING), "sdpa"),
    "gemma3-mixed": lambda: (
        hf.Gemma3TextConfig(**SLIDING, layer_types=["sliding_attention", "full_attention"]),
        "sdpa",
    ),
}
ALIBI = {"vocab_size": VOCABULARY, "n_layer": 2, "n_head": 4}
KINDS |= {
    "bloom": lambda: (hf.BloomConfig(**ALIBI, hidden_size=32, seq_length=WINDOW), "eager"),
    "mpt": lambda: (
        hf.MptConfig(vocab_size=VOCABULARY, n_layers=2, n_heads=4, d_model=32, max_seq_len=WINDOW),
        "eager",
    ),
    "gpt-neo": lambda: (
        hf.GPTNeoConfig(
            **{"vocab_size": VOCABULARY, "hidden_size": 32, "num_layers": 2, "num_heads": 4, "window_size": 8},
            **{"attention_types": [[["global", "local"], 1]], "max_position_embeddings": WINDOW},
        ),
        "eager",
    ),
}
KEEPS_A_CACHE = ("qwen3", "llama", "llama-eager", "gpt2")


def build(config, attention="sdpa"):
    """A random float32 model, wide enough awake that its answers differ."""
    torch.manual_seed(0)
    model = hf.AutoModelForCausalLM.from_config(config, attn_implementation=attention, dtype=torch.float32).eval()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() > 1:
                weight.normal_(std=0.3)
    return model


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    torch.set_num_threads(1)  # the models are tiny: threads would wait for one another


@pytest.fixture(scope="session")
def tiny():
    """A function from a kind to a served model with nothing in its cache; weights are built once."""
    known = {}

    def make(kind, **fields):
        if kind not in known:
            known[kind] = build(*KINDS[kind]())
        return TransformersModel(kind, known[kind], SimpleNamespace(model_max_length=WINDOW), **fields)

    return make


@pytest.fixture(scope="session")
def speaking(tokenizer):
    """A model for the tokenizer of the prompts."""
    config = hf.Qwen3Config(**BLOCK | {"vocab_size": len(tokenizer), "max_position_embeddings": 4096}, head_dim=8)
    model = build(config)
    return lambda **fields: TransformersModel("tiny", model, tokenizer, **fields)
