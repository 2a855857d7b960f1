"""Steering against hooks written by hand on an uncached, single-row forward."""

import copy
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from types import SimpleNamespace

import gguf
import numpy as np
import pytest
import torch
import transformers as hf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from icrl.models import Query
from icrl.models.controlvector import to_gguf
from icrl.models.hf import TransformersModel
from icrl.models.residual import blocks, changed, changes, moved, read
from icrl.models.steering import Origin, Steer, SteeringVector, start_of

WIDTH = 32
SHARED = ((10, 11, 1), (10, 12, 13, 1), (10, 12, 14, 1), (20, 1), (21, 11, 1))
BLOCKS = dict.fromkeys(("qwen3", "llama", "llama-eager", "mistral-sliding", "gemma3-mixed"), "model.layers")
BLOCKS |= {"gpt2": "transformer.h", "bloom": "transformer.h", "gpt-neo": "transformer.h", "mpt": "transformer.blocks"}
NORMS = {"qwen3": "model.norm", "gemma3-mixed": "model.norm", "gpt2": "transformer.ln_f", "bloom": "transformer.ln_f"}
"""What follows the last block."""


def vector(*layers, seed=0, size=1.5, **fields):
    numbers = np.random.default_rng((seed, *layers)).normal(size=(len(layers), WIDTH))
    return SteeringVector((size * numbers).astype(np.float32), layers, **fields)


VECTORS = (vector(0), vector(1), vector(1, 0), vector(0, keeps_norm=True, size=0.3), vector(0, 1, keeps_norm=True))


def some(seed, length):
    return np.random.default_rng(seed).integers(50, 300, length).astype(np.int32)


def query(ids, key=0, steer=None, choices=SHARED, **fields):
    return Query(np.asarray(ids, np.int32), key, choices, steer=steer, **fields)


def east(own, strength, ids):
    return Steer(own, strength, start_of("east", len(ids)))


def turned(x, direction, strength):
    """The formula of Liu et al. 2023, in float64: x [n, d]."""
    x, v = x.astype(np.float64), direction.astype(np.float64) / np.linalg.norm(direction.astype(np.float64))
    length = np.linalg.norm(x, axis=-1, keepdims=True)
    unit = x / length
    v = v * np.sign(strength)
    new = unit + abs(strength) * (1 + np.maximum(0, -(unit @ v))[..., None]) * v
    return length * new / np.linalg.norm(new, axis=-1, keepdims=True)


@contextmanager
def by_hand(kind, model, steer):
    """Hooks that steer a pass over one whole row."""

    def hook(direction):
        def change(_module, _args, output):
            states = (output[0] if isinstance(output, tuple) else output).clone()
            old = states[0, steer.start :].float()
            if steer.vector.keeps_norm:
                new = torch.from_numpy(turned(old.numpy(), direction, steer.strength)).float()
            else:
                new = old + torch.from_numpy(steer.strength * direction)
            states[0, steer.start :] = new.to(states.dtype)
            return (states, *output[1:]) if isinstance(output, tuple) else states

        return change

    with ExitStack() as stack:
        for layer, direction in zip(steer.vector.layers, steer.vector.directions, strict=True) if steer else ():
            stack.callback(model.get_submodule(BLOCKS[kind])[layer].register_forward_hook(hook(direction)).remove)
        yield


@pytest.fixture(scope="session")
def expected(reference):
    """A policy by brute force under hooks by hand."""

    def policy(kind, model, asked):
        with by_hand(kind, model, asked.steer):
            return reference(model, asked)

    return policy


@pytest.fixture(scope="session")
def agrees(expected):
    """Asks a batch and compares each row; gives the answers."""

    def ask(kind, served, asked, **tolerance):
        answers = served.ask(asked)
        for q, answer in zip(asked, answers, strict=True):
            logp, mass = expected(kind, served.model, q)
            assert answer.logp == pytest.approx(logp, **tolerance or {"abs": 2e-5})
            assert answer.mass == pytest.approx(mass, **tolerance or {"abs": 2e-5})
        return answers

    return ask


def hooks(model):
    return sum(len(part._forward_hooks) + len(part._forward_pre_hooks) for part in model.modules())


def script(rows=5, steps=7):
    """Prompts of unequal length that grow and are cut; each row is steered in another way at each step, or not."""
    rng = np.random.default_rng(0)
    stems = [some(row, 4 + 5 * row) for row in range(rows)]
    for step in range(steps):
        asked = []
        for row, ids in enumerate(stems):
            which = (row + step) % (len(VECTORS) + 1)
            positions = ("east", "generated", "all")[(row + 2 * step) % 3]
            strength = (1.0, -2.0, 0.5, 0.0)[(row + 3 * step) % 4]
            steer = None if which == len(VECTORS) else Steer(VECTORS[which], strength, start_of(positions, len(ids)))
            asked.append(query(ids, row, steer, temperature=0.5 + row))
        yield asked
        stems = [np.append(ids[: len(ids) - step % 3], some(99 + step, int(rng.integers(1, 8)))) for ids in stems]


@pytest.mark.parametrize("kind", BLOCKS)
def test_answers_equal_hooks_by_hand(kind, tiny, agrees):
    """Of every kind of attention and cache: rows steered unlike and unequally long, padded on the left, over turns."""
    served = tiny(kind)
    for asked in script():
        agrees(kind, served, asked)
    assert hooks(served.model) == 0


def test_the_reference_tells_steers_apart(tiny, expected):
    """Else the test above would pass without steering. Nothing follows the last block that could see a token before."""
    model, ids = tiny("qwen3").model, some(1, 20)
    starts = {own: (19, 20) if own.layers == (1,) else (0, 18, 19, 20) for own in VECTORS}
    steers = [Steer(own, s, at) for own in VECTORS for s in (0.5, 1.0, -2.0) for at in starts[own]]
    found = [expected("qwen3", model, query(ids, steer=steer))[0] for steer in [None, *steers]]
    gaps = [abs(a - b).max() for i, a in enumerate(found) for b in found[:i]]
    assert min(gaps) > 1e-3


@pytest.mark.parametrize("kind", ["qwen3", "gpt2", "gemma3-mixed", "bloom"])
class TestNothing:
    """What is not steered is computed bit by bit as ever."""

    def same(self, a, b):
        return np.array_equal(a.logp, b.logp) and a.mass == b.mass

    def test_strength_zero(self, kind, tiny):
        prompts = [some(row, 5 + 4 * row) for row in range(len(VECTORS))]
        plain = tiny(kind).ask([query(ids, row) for row, ids in enumerate(prompts)])
        for zero in (0.0, -0.0):
            steers = [Steer(own, zero, 1) for own in VECTORS]
            idle = tiny(kind).ask([query(ids, row, steers[row]) for row, ids in enumerate(prompts)])
            assert all(map(self.same, plain, idle))

    def test_other_rows(self, kind, tiny):
        prompts = [some(row, 9) for row in range(4)]
        plain = tiny(kind).ask([query(ids, row) for row, ids in enumerate(prompts)])
        steers = [None, Steer(VECTORS[0], 1.0, 0), Steer(VECTORS[4], 1.0, 8), Steer(VECTORS[4], 0.0, 0)]
        mixed = tiny(kind).ask([query(ids, row, steers[row]) for row, ids in enumerate(prompts)])
        assert [self.same(a, b) for a, b in zip(plain, mixed, strict=True)] == [True, False, False, True]

    def test_tokens_before_the_first_steered_one(self, kind, tiny):
        """Behind each block and, of the cache, the keys and values."""
        at, seen = 6, {}
        for name, steer in {"plain": None, "east": Steer(vector(0, 1), 1.0, at)}.items():
            served, states = tiny(kind), []
            after = [served.model.get_submodule(BLOCKS[kind])[1], served.model.get_submodule(NORMS[kind])]
            held = [
                part.register_forward_pre_hook(
                    lambda _module, args, kwargs, to=states: to.append((args or tuple(kwargs.values()))[0].clone()),
                    with_kwargs=True,
                )
                for part in after
            ]
            served.ask([query(some(3, at + 1), 0, steer, ((5, 1), (6, 1)))])
            for hook in held:
                hook.remove()
            seen[name] = states, [x for lanes in served.lanes for layer in lanes.layers for x in layer.room]
        for plain, steered in zip(*(seen[name][0] for name in ("plain", "east")), strict=True):
            assert plain.shape == (1, at + 1, WIDTH)
            assert torch.equal(plain[:, :at], steered[:, :at]) and not torch.isclose(plain[:, at], steered[:, at]).all()
        gap = (seen["east"][0][0] - seen["plain"][0][0])[0, at].numpy()
        assert gap == pytest.approx(vector(0, 1).directions[0], abs=1e-5)
        for plain, steered in zip(*(seen[name][1] for name in ("plain", "east")), strict=True):
            assert torch.equal(plain[:, :, :at], steered[:, :, :at])


class TestTurns:
    def test_only_clean_tokens_are_read_again(self, tiny, agrees):
        """The next prompt holds the steered answer, whose keys and values were steered: they are made anew."""
        served, ids = tiny("qwen3"), some(0, 20)
        before = 0
        for turn in range(6):
            steer = east(VECTORS[turn % 4], 1.0, ids)
            (answer,) = agrees("qwen3", served, [query(ids, 0, steer)])
            assert answer.usage[1] == before, "all up to where the last answer began to be steered"
            before, ids = len(ids) - 1, np.concatenate([ids, (10, 12), some(turn, 5)]).astype(np.int32)

    def test_unsteered_after_steered_and_back(self, tiny, agrees):
        served, ids = tiny("qwen3"), some(0, 20)
        reused = []
        for turn in range(8):
            steer = (None, Steer(VECTORS[1], 1.0, 25), Steer(VECTORS[1], 1.0, 30), Steer(VECTORS[1], 2.0, 30))[turn % 4]
            asked = query(np.concatenate([ids, some(7, 20 + turn)])[: 40 + turn], 0, steer)
            (answer,) = agrees("qwen3", served, [asked])
            reused.append(answer.usage[1])
        assert reused == [0, 25, 25, 30, 30, 25, 25, 30]

    def test_strength_zero_keeps_what_was_read(self, tiny, agrees):
        served, ids = tiny("qwen3"), some(0, 20)
        steers = [None, Steer(VECTORS[0], 0.0, 3), Steer(VECTORS[1], 0.0, 5), None]
        asked = [query(np.append(ids, some(1, n)), 0, steer, ((5, 1), (6, 1))) for n, steer in enumerate(steers)]
        assert [agrees("qwen3", served, [q])[0].usage[1] for q in asked] == [0, 20, 21, 22]

    def test_the_same_steer_goes_on(self, tiny, agrees):
        served, ids = tiny("qwen3"), some(0, 20)
        steer = Steer(VECTORS[0], 1.0, 10)
        agrees("qwen3", served, [query(ids, 0, steer)])
        named = replace(steer, vector=replace(steer.vector, origin=Origin(method="same", seed=1)))
        (answer,) = agrees("qwen3", served, [query(np.append(ids, (5, 6, 7)), 0, named)])
        assert answer.usage[1] == 20

    @pytest.mark.parametrize("kind", ["qwen3", "llama-eager", "gpt2", "mistral-sliding", "bloom"])
    def test_a_thought_and_its_answer(self, kind, tiny, agrees):
        """Both are steered from the same token on; then come a steered and a clean turn."""
        served, prompts = tiny(kind), [some(row, 12 + 3 * row) for row in range(3)]
        steers = [east(VECTORS[0], 2.0, prompts[0]), None, Steer(VECTORS[3], -1.0, start_of("generated", 18))]
        asked = [query(prompts[k], k, steers[k], None, temperature=0.0, limit=9) for k in range(3)]
        thoughts = served.ask(asked)
        for q, thought in zip(asked, thoughts, strict=True):
            ids = list(q.ids)
            for token in thought.ids:
                with torch.inference_mode(), by_hand(kind, served.model, q.steer):
                    logits = served.model(input_ids=torch.tensor([ids]), use_cache=False).logits
                assert token == int(logits[0, -1].argmax())
                ids.append(token)
        plain = tiny(kind).ask([replace(q, steer=None) for q in asked])
        assert [a.ids == b.ids for a, b in zip(thoughts, plain, strict=True)] == [False, True, False]
        told = [np.append(p, t.ids).astype(np.int32) for p, t in zip(prompts, thoughts, strict=True)]
        answers = agrees(kind, served, [query(p, k, s) for k, (p, s) in enumerate(zip(told, steers, strict=True))])
        if served.reuses:
            assert [a.usage[1] for a in answers] == [len(p) - 1 for p in told], "the thought is not read again"
        longer = [np.append(p, some(5, 6)) for p in told]
        agrees(kind, served, [query(p, k, east(VECTORS[2], 1.0, p)) for k, p in enumerate(longer)])
        answers = agrees(kind, served, [query(p, k) for k, p in enumerate(longer)])
        if served.reuses:
            assert [a.usage[1] for a in answers] == [len(p) - 1 for p in longer]

    def test_cached_text_is_uncached_text(self, tiny):
        served, bare = tiny("qwen3"), tiny("qwen3")
        bare.reuses = False
        asked = [
            query(some(k, 10 + k), k, Steer(VECTORS[k % 5], 1.0, 9), None, temperature=1.5, seed=k, limit=12)
            for k in range(6)
        ]
        cached, uncached = served.ask(asked), bare.ask(asked)
        assert [a.ids for a in cached] == [a.ids for a in uncached]
        assert served.lanes and not bare.lanes

    @settings(max_examples=25)
    @given(st.data())
    def test_any_history(self, tiny, agrees, data):
        """Prompts that share beginnings, in any order, under a few steers: the cache never shows."""
        served, text = tiny("qwen3"), some(0, 16)
        steers = st.builds(Steer, st.sampled_from(VECTORS[:2]), st.sampled_from((0.0, 1.0, -1.0)), st.integers(0, 17))
        for _ in range(data.draw(st.integers(2, 5), "steps")):
            asked = []
            for key in data.draw(st.sampled_from(([0, 1], [1, 0], [0], [1])), "keys"):
                ids = text[: data.draw(st.integers(1, 16), "length")].copy()
                ids[data.draw(st.integers(0, 31), "changed") :] = 60
                steer = data.draw(st.none() | steers, "steer")
                asked.append(query(ids, key, steer, ((10, 11, 1), (10, 12, 1), (20, 1))))
            agrees("qwen3", served, asked)


class TestBatch:
    def test_rows_are_steered_alone(self, tiny):
        asked = list(script())[3]
        together = tiny("qwen3").ask(asked)
        for q, answer in zip(asked, together, strict=True):
            (alone,) = tiny("qwen3").ask([q])
            assert answer.logp == pytest.approx(alone.logp, abs=1e-5)

    def test_rows_taken_from_a_batch_keep_what_they_were_steered_by(self, tiny, agrees):
        served, prompts = tiny("qwen3"), [some(row, 14 + row) for row in range(4)]
        steers = [Steer(VECTORS[0], 1.0, 3), None, Steer(VECTORS[1], -1.0, 5), Steer(VECTORS[3], 0.5, 7)]
        agrees("qwen3", served, [query(prompts[k], k, steers[k], ((5, 1), (6, 1))) for k in range(4)])
        for wanted, reused in [
            ({3: steers[3], 0: steers[0]}, [16, 13]),
            ({0: None, 2: steers[2]}, [3, 15]),
            ({2: steers[0], 1: steers[1]}, [3, 14]),
            ({2: None, 1: steers[3]}, [3, 7]),
        ]:
            asked = [query(prompts[k], k, steer, ((5, 1), (6, 1))) for k, steer in wanted.items()]
            assert [a.usage[1] for a in agrees("qwen3", served, asked)] == reused

    @pytest.mark.parametrize("kind", ["llama", "gpt2"])
    def test_bfloat16(self, kind, tiny, agrees):
        model = copy.deepcopy(tiny(kind).model).to(torch.bfloat16)
        served = TransformersModel(kind, model, SimpleNamespace(model_max_length=512))
        steers = [None, east(VECTORS[1], 2.0, range(9)), Steer(VECTORS[4], 1.0, 4)]
        asked = [query(some(row, 9), row, steer, ((5, 1), (6, 1))) for row, steer in enumerate(steers)]
        steered = agrees(kind, served, asked, abs=0.05)
        plain = served.ask([replace(q, steer=None) for q in asked])
        gaps = [abs(a.logp - b.logp).max() for a, b in zip(steered, plain, strict=True)]
        assert gaps[0] == 0 and min(gaps[1:]) > 0.2
        zero = served.ask([replace(q, steer=Steer(VECTORS[4], 0.0, 0)) for q in asked])
        assert all(np.array_equal(a.logp, b.logp) for a, b in zip(zero, plain, strict=True))


class TestAdapter:
    def test_both_at_once(self, tiny, expected, fakes, tmp_path):
        """A LoRA adapter, and a vector that was fitted on the model without."""
        import peft

        base = tiny("llama").model
        folder = fakes.save_lora(tmp_path / "lora", copy.deepcopy(base), 0.3, ["q_proj", "v_proj"])
        merged = peft.PeftModel.from_pretrained(copy.deepcopy(base), folder).merge_and_unload()
        own = copy.deepcopy(base)
        served = TransformersModel("llama", own, SimpleNamespace(model_max_length=512), revision="abc")
        adapted = served.adapted(str(folder))
        fitted = vector(0, origin=Origin(model="llama", revision="abc"))
        adapted.check_steering(fitted)
        asked = [query(some(row, 9 + row), row, east(fitted, 1.0, range(9 + row))) for row in range(3)]
        for _ in range(2):  # they share the blocks
            for model, reference in ((adapted, merged), (served, base)):
                for q, answer in zip(asked, model.ask(asked), strict=True):
                    assert answer.logp == pytest.approx(expected("llama", reference, q)[0], abs=2e-5)
        gap = expected("llama", merged, asked[0])[0] - expected("llama", base, asked[0])[0]
        assert abs(gap).max() > 1e-2


class TestHooks:
    def test_they_are_gone_whatever_happens(self, tiny):
        served = tiny("qwen3")
        asked = [query(some(0, 9), 0, Steer(vector(0, 1), 1.0, 3))]
        served.ask(asked)
        served.residuals(asked)
        assert hooks(served.model) == 0

        def interrupt(*_):
            raise KeyboardInterrupt

        own = served.model.model.layers[1].mlp.register_forward_pre_hook(interrupt)
        longer = [replace(asked[0], ids=some(1, 12))]
        for call in (served.ask, served.residuals):
            with pytest.raises(KeyboardInterrupt):
                call(longer)
        own.remove()
        assert hooks(served.model) == 0

    def test_they_are_gone_when_one_cannot_be_set(self):
        modules = [torch.nn.Identity(), torch.nn.Identity()]
        with pytest.raises(IndexError), changed(modules, {0: torch.neg, 7: torch.neg}):
            pass
        assert sum(map(hooks, modules)) == 0

    def test_an_interrupted_call_leaves_nothing_steered(self, tiny, agrees):
        served, ids = tiny("qwen3"), some(0, 20)
        agrees("qwen3", served, [query(ids, 0)])

        def interrupt(*_):
            raise KeyboardInterrupt

        hook = served.model.model.layers[1].register_forward_pre_hook(interrupt)
        with pytest.raises(KeyboardInterrupt):
            served.ask([query(np.append(ids, ids), 0, Steer(VECTORS[0], 1.0, 5))])
        hook.remove()
        agrees("qwen3", served, [query(np.append(ids, ids), 0)])

    @pytest.mark.parametrize("rest", [None, (), ("weights", 7)])
    def test_blocks_give_a_tensor_or_a_tuple(self, rest):
        class Block(torch.nn.Module):
            def forward(self, x):
                return 2 * x if rest is None else (2 * x, *rest)

        block, x = Block(), torch.arange(12.0).reshape(2, 3, 2)
        with changed([block], {0: lambda states: states + 1}), read([block]) as found:
            output = block(x)
        states, others = (output, None) if rest is None else (output[0], output[1:])
        assert torch.equal(states, 2 * x + 1) and others == rest
        assert torch.equal(found[0], (2 * x + 1)[:, -1])
        assert hooks(block) == 0

    def test_the_decoder_of_a_model_that_sees(self):
        """Its images' encoder has as many blocks, and comes first."""
        text = {"vocab_size": 300, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "head_dim": 8}
        sight = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
        config = hf.Gemma3Config(
            text_config=text | {"intermediate_size": 48, "num_key_value_heads": 2},
            vision_config=sight | {"image_size": 28, "patch_size": 14},
            mm_tokens_per_image=4,
        )
        model = hf.AutoModelForCausalLM.from_config(config).eval()
        assert type(model).__name__ == "Gemma3ForConditionalGeneration"
        served = TransformersModel("sees", model, SimpleNamespace(model_max_length=64))
        assert list(served._blocks) == list(model.get_submodule("model.language_model.layers"))

    def test_models_without_blocks(self):
        model = torch.nn.Linear(2, 2)
        model.config = SimpleNamespace(get_text_config=lambda: SimpleNamespace(num_hidden_layers=3))
        with pytest.raises(ValueError, match="steering: Linear has no list of its 3 decoder blocks"):
            blocks(model)

    @pytest.mark.parametrize(
        ("own", "message"),
        [
            (vector(2), "steering: qwen3 has layers 0 to 1, but the vector is for 2"),
            (SteeringVector(np.ones((1, 5)), (0,)), "steering: the vector has 5 numbers, but qwen3 has a width of 32"),
            (vector(0, origin=Origin(model="other", revision="x")), r"fitted on other \(x\), not on qwen3 \(abc\)"),
        ],
    )
    def test_vectors_that_do_not_fit(self, own, message, tiny):
        served = tiny("qwen3", revision="abc")
        with pytest.raises(ValueError, match=message):
            served.check_steering(own)
        served.check_steering(vector(0, 1, origin=Origin(revision="abc")))


floats = arrays(np.float32, (2, 3, 4), elements=st.floats(-100, 100, width=16))
directions = arrays(np.float32, (2, 1, 4), elements=st.floats(-100, 100, width=16))
strengths = arrays(np.float32, (2, 3, 1), elements=st.sampled_from((-2.0, -0.5, 0.0, 0.5, 3.0)))
rotating = arrays(np.bool_, (2, 1, 1))


class TestMoved:
    def tensors(self, *given):
        return [torch.from_numpy(x) for x in given]

    @given(floats, directions, strengths, rotating)
    def test_by_the_formula(self, x, direction, strength, rotates):
        got = moved(*self.tensors(x, direction, strength, rotates)).numpy()
        for r in range(2):
            v = direction[r, 0]
            for c in range(3):
                s, own = float(strength[r, c, 0]), x[r, c]
                if s == 0:
                    assert got[r, c].tobytes() == own.tobytes()
                elif not rotates[r, 0, 0]:
                    assert got[r, c] == pytest.approx(own + s * v, rel=1e-5, abs=1e-4)
                else:
                    self.is_turned(got[r, c], own, v, s)

    def is_turned(self, got, x, v, strength):
        length = float(np.linalg.norm(x.astype(np.float64)))
        new = length
        if v.any() and length > 1e-3 and np.linalg.norm(v) > 1e-3:
            unit, along = x / length, v / np.linalg.norm(v.astype(np.float64))
            along = along * np.sign(strength)
            new = np.linalg.norm(unit + abs(strength) * (1 + max(0.0, -float(unit @ along))) * along)
            if new > 1e-2:  # else what is left of both is rounding
                assert got == pytest.approx(turned(x[None], v, strength)[0], rel=1e-3, abs=1e-4 * max(1.0, length))
                assert np.linalg.norm(got) == pytest.approx(length, rel=1e-5)
        assert np.isfinite(got).all()

    def test_a_zero_direction_turns_nothing(self):
        x = torch.randn(1, 3, 4, generator=torch.Generator().manual_seed(0))
        new = moved(x, torch.zeros(1, 1, 4), torch.ones(1, 1, 1), torch.ones(1, 1, 1, dtype=torch.bool))
        assert torch.allclose(new, x, rtol=1e-6)

    def test_a_state_against_the_vector_is_pushed_twice(self):
        x, v = torch.tensor([[[-1.0, 0.0]], [[1.0, 0.0]]]), torch.tensor([[[5.0, 0.0]]])
        new = moved(x, v, torch.full((2, 1, 1), 0.75), torch.ones(2, 1, 1, dtype=torch.bool))
        assert new.tolist() == [[[1.0, 0.0]], [[1.0, 0.0]]]  # -1 + 0.75 * 2 = 0.5 > 0
        minus = moved(x, v, torch.full((2, 1, 1), -0.75), torch.ones(2, 1, 1, dtype=torch.bool))
        assert minus.tolist() == [[[-1.0, 0.0]], [[-1.0, 0.0]]]  # as of the contrary vector

    def test_types_are_kept_and_sums_are_in_float32(self):
        """Of bfloat16, 258 follows 256; the vector as such would be rounded to 1, and the sum to 256."""
        x, v = torch.full((1, 1, 1), 256.0, dtype=torch.bfloat16), torch.full((1, 1, 1), 1.003)
        new = moved(x, v, torch.ones(1, 1, 1), torch.zeros(1, 1, 1, dtype=torch.bool))
        assert new.dtype == torch.bfloat16 and new.item() == 258
        x = torch.from_numpy(np.random.default_rng(0).normal(size=(2, 3, WIDTH))).bfloat16()
        of = (
            torch.tensor(VECTORS[0].directions)[None],
            torch.full((1, 1, 1), 0.7),
            torch.tensor([[[True]], [[False]]]),
        )
        assert torch.equal(moved(x, *of), moved(x.float(), *of).bfloat16())

    def test_what_is_not_finite_stays_where_nothing_is_added(self):
        x = torch.tensor([[[float("nan"), float("inf"), 1.0]]])
        for rotates in (True, False):
            new = moved(x, torch.ones(1, 1, 3), torch.zeros(1, 1, 1), torch.tensor([[[rotates]]]))
            assert new.numpy().tobytes() == x.numpy().tobytes()

    def test_padding_is_left_alone(self):
        states = torch.ones(2, 3, WIDTH)
        positions, real = torch.tensor([[0, 1, 2], [0, 0, 1]]), torch.tensor([[True] * 3, [False, True, True]])
        steers = [Steer(vector(0), 1.0, 1), Steer(vector(0), 2.0, 0)]
        (change,) = changes(steers, positions, real).values()
        gap = (change(states) - states)[:, :, 0] / float(vector(0).directions[0, 0])
        assert gap.numpy() == pytest.approx(np.array([[0, 1, 1], [0, 2, 2]]), abs=1e-4)
        assert changes([None, Steer(vector(0), 0.0, 0)], positions, real) == {}


class TestResiduals:
    @pytest.mark.parametrize("kind", BLOCKS)
    def test_they_are_those_of_transformers(self, kind, tiny):
        """But for the last block's, which transformers gives behind the final norm."""
        served = tiny(kind)
        layers = served.model.get_submodule(BLOCKS[kind])
        stems = [some(row, 4 + 7 * row) for row in range(4)]
        for turn in range(3):
            asked = [query(ids, row, choices=None, limit=1) for row, ids in enumerate(stems)]
            if turn == 1:
                asked = asked[:0:-1]  # other rows, from the cache
            got = served.residuals(asked)
            assert got.shape == (len(asked), 2, WIDTH) and got.dtype == np.float32
            for q, own in zip(asked, got, strict=True):
                assert own == pytest.approx(self.whole(served.model, layers[-1], q.ids), abs=1e-4)
            stems = [np.append(ids, some(turn, 3)) for ids in stems]
        assert bool(served.lanes) == served.reuses

    def whole(self, model, last, ids):
        """[2, d] at the last token, of one pass over all."""
        seen = []

        def keep(_module, _args, output):
            seen.append(output[0] if isinstance(output, tuple) else output)

        held = last.register_forward_hook(keep)
        with torch.inference_mode():
            out = model(input_ids=torch.tensor([ids.tolist()]), output_hidden_states=True, use_cache=False)
        held.remove()
        return torch.stack([out.hidden_states[1][0, -1], seen[0][0, -1]]).numpy()

    def test_caches_are_used_and_filled(self, tiny, agrees):
        served, ids = tiny("qwen3"), some(0, 20)
        columns = []
        hook = served.model.register_forward_pre_hook(
            lambda _module, _args, kwargs: columns.append(kwargs["input_ids"].shape[1]), with_kwargs=True
        )
        first = served.residuals([query(ids)])
        (answer,) = served.ask([query(ids)])
        again = served.residuals([query(ids)])
        longer = served.residuals([query(np.append(ids, (5, 6)))])
        hook.remove()
        assert columns[0] == 20 and answer.usage[1] == 19 and columns[-2:] == [1, 2]
        assert again == pytest.approx(first, abs=1e-5) and abs(longer - first).max() > 0.1
        agrees("qwen3", served, [query(ids)])

    def test_they_are_found_under_steering(self, tiny):
        """What is added behind the first block is in what the second gives."""
        served, ids = tiny("qwen3"), some(0, 12)
        steer = Steer(VECTORS[0], 1.0, 7)
        plain, own = (served.residuals([query(ids, 0, s)])[0, 1] for s in (None, steer))
        with by_hand("qwen3", served.model, steer):
            expected = self.whole(served.model, served.model.model.layers[1], ids)[1]
        assert own == pytest.approx(expected, abs=1e-4) and abs(own - plain).max() > 0.1

    def test_they_are_found_under_the_adapter(self, tiny, fakes, tmp_path):
        base = tiny("llama").model
        folder = fakes.save_lora(tmp_path / "lora", copy.deepcopy(base), 0.3, ["q_proj", "v_proj"])
        served = TransformersModel("llama", copy.deepcopy(base), SimpleNamespace(model_max_length=512))
        adapted, asked = served.adapted(str(folder)), [query(some(0, 9))]
        plain = tiny("llama").residuals(asked)
        assert served.residuals(asked) == pytest.approx(plain, abs=1e-4)
        assert abs(adapted.residuals(asked) - plain).max() > 1e-2
        assert served.residuals(asked) == pytest.approx(plain, abs=1e-4)

    def test_too_long_prompts_are_refused(self, tiny):
        with pytest.raises(ValueError, match="prompt: 513 tokens"):
            tiny("qwen3").residuals([query(np.full(510, 60), choices=((5, 6, 1),))])


@pytest.mark.parametrize("kind", ["qwen3", "gpt2", "bloom"])
def test_other_tools_steer_at_the_same_place(kind, tiny, reference, tmp_path):
    """repeng adds `direction.i` to what the block `layers[i]` gives, at every position."""
    served, own = tiny(kind), vector(1)
    path = to_gguf(own, tmp_path / "v.gguf", 2)
    asked = query(some(0, 12), 0, Steer(own, 1.5, start_of("all", 12)))
    with ExitStack() as stack:
        for tensor in gguf.GGUFReader(path).tensors:
            block = served.model.get_submodule(BLOCKS[kind])[int(tensor.name.removeprefix("direction."))]
            control = torch.from_numpy(1.5 * tensor.data)

            def add(_module, _args, output, control=control):
                return (output[0] + control, *output[1:]) if isinstance(output, tuple) else output + control

            stack.callback(block.register_forward_hook(add).remove)
        logp, mass = reference(served.model, asked)
    (answer,) = served.ask([asked])
    assert answer.logp == pytest.approx(logp, abs=2e-5) and answer.mass == pytest.approx(mass, abs=2e-5)
