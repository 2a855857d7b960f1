"""The transformers backend against an uncached, single-row, float32 reference."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from icrl.agents import LLMAgent, rollout
from icrl.envs import make
from icrl.models import Query
from icrl.models.cache import Lanes
from icrl.prompts import Prompt

SHORT = ((10, 1), (20, 1), (30, 1))
SHARED = (
    (10, 11, 1),
    (10, 12, 13, 1),
    (10, 12, 14, 1),
    (20, 1),
    (21, 11, 1),
)  # three nodes decide, the third at depth 2
LATE = ((7, 8, 40, 1), (7, 8, 41, 1))  # nothing is decided at the prompt itself
STEPS = 12


def some(rng, low, high=None):
    return rng.integers(50, 300, low if high is None else rng.integers(low, high)).astype(np.int32)


def query(ids, key, choices=SHORT, temperature=1.0):
    return Query(np.asarray(ids, np.int32), key, choices, temperature)


# Each script yields what is asked, call by call.


def growing(rng, rows=4):
    """Each row gets 1 to 8 more tokens."""
    stems = [some(rng, 5, 30) for _ in range(rows)]
    for _ in range(STEPS):
        yield [query(ids, row) for row, ids in enumerate(stems)]
        stems = [np.append(ids, some(rng, 1, 9)) for ids in stems]


def leaving(rng):
    """Rows leave one after the other."""
    for step, asked in enumerate(growing(rng)):
        yield [q for q in asked if q.key not in {0: (), 1: (2,), 2: (2, 0), 3: (2, 0, 3)}[step // 3]]


def reordered(rng):
    """The rows come in another order each time."""
    for asked in growing(rng):
        yield [asked[i] for i in rng.permutation(len(asked))]


def tails(rng):
    """Behind the stem stands a tail that is thrown away; labels share beginnings."""
    for asked in growing(rng):
        yield [replace(q, ids=np.append(q.ids, some(rng, 0, 12)), choices=SHARED) for q in asked]


def rewritten(rng):
    """A head that stays and a summary that is written anew, longer or shorter."""
    heads = [some(rng, 5, 20) for _ in range(4)]
    for _ in range(STEPS):
        yield [query(np.append(head, some(rng, 1, 25)), row, SHARED) for row, head in enumerate(heads)]


def interleaved(rng):
    """Three batches take turns."""
    batches = [[(replace(q, key=(b, q.key)),) for q in asked] for b in range(3) for asked in growing(rng, 2)]
    for step in range(STEPS):
        yield [q for (q,) in batches[step % 3 * STEPS + step // 3]]


def asked_again(rng):
    """Some rows are asked again at once, as after an unreadable answer; then all go on."""
    for step, asked in enumerate(growing(rng)):
        if step % 3 == 1:
            yield asked
            yield asked[1:3]
        elif step % 3 == 2:
            yield asked


def shrinking(rng):
    """The same prompt again, a part of it, another one under the same key."""
    for step, asked in enumerate(growing(rng)):
        if step % 4 == 2:
            asked = [replace(q, ids=q.ids[: len(q.ids) // 2]) for q in asked]
        elif step % 4 == 3:
            asked = [replace(q, ids=some(rng, 1, 40)) for q in asked]
        yield asked
        if step % 4 == 0:
            yield asked


def mixed(rng):
    """Rows differ in number and depth of choices, and in temperature."""
    for step, asked in enumerate(growing(rng)):
        choices = [(SHORT, SHARED, LATE, SHORT[:2])[(row + step) % 4] for row in range(4)]
        yield [replace(q, choices=c, temperature=0.5 + q.key) for q, c in zip(asked, choices, strict=True)]


def everything(rng):
    """A bit of all."""
    scripts = [tails(rng), leaving(rng), rewritten(rng), mixed(rng), shrinking(rng)]
    for step in range(2 * STEPS):
        kind = step % len(scripts)
        if asked := next(scripts[kind], None):
            yield [replace(q, key=(kind, q.key)) for q in asked]


SCRIPTS = [growing, leaving, reordered, tails, rewritten, interleaved, asked_again, shrinking, mixed]
PAIRS = [("qwen3", script) for script in SCRIPTS]
OTHERS = ("llama", "llama-eager", "gpt2", "mistral-sliding", "gemma3-mixed", "bloom", "mpt", "gpt-neo")
PAIRS += [(kind, everything) for kind in OTHERS]


@pytest.mark.parametrize(("kind", "script"), PAIRS, ids=lambda v: v if isinstance(v, str) else v.__name__)
def test_cached_answers_equal_an_uncached_reference(kind, script, tiny, reference):
    served, calls = tiny(kind), 0
    for asked in script(np.random.default_rng(0)):
        calls += 1
        for q, answer in zip(asked, served.ask(asked), strict=True):
            logp, mass = reference(served.model, q)
            assert answer.logp == pytest.approx(logp, abs=1e-4)
            assert answer.mass == pytest.approx(mass, abs=1e-4)
            assert sum(answer.usage[:2]) >= len(q.ids) and answer.usage[2] == 0
            assert np.exp(answer.logp).sum() == pytest.approx(1)
    assert calls >= 8


def test_the_reference_tells_prompts_apart(tiny, reference):
    """Else the test above would pass with any cache."""
    model, ids = tiny("qwen3").model, some(np.random.default_rng(1), 20)
    logp, _ = reference(model, query(ids, 0))
    for i in range(20):
        changed = ids.copy()
        changed[i] += 1 if changed[i] < 299 else -1
        assert abs(reference(model, query(changed, 0))[0] - logp).max() > 1e-3


class TestCache:
    @pytest.mark.parametrize("kind", ["qwen3", "llama", "llama-eager", "gpt2"])
    def test_only_new_tokens_are_read(self, kind, tiny):
        served = tiny(kind)
        assert served.reuses
        before = None
        for asked in growing(np.random.default_rng(0)):
            usage = [answer.usage for answer in served.ask(asked)]
            if before is not None:
                assert [u[1] for u in usage] == before
            before = [len(q.ids) for q in asked]

    @pytest.mark.parametrize("kind", ["mistral-sliding", "gemma3-mixed", "bloom", "mpt", "gpt-neo"])
    def test_sliding_windows_keep_none(self, kind, tiny):
        served = tiny(kind)
        assert not served.reuses
        for asked in growing(np.random.default_rng(0)):
            assert [a.usage for a in served.ask(asked)] == [(len(q.ids), 0, 0) for q in asked]
        assert served.lanes == []

    def test_bytes_are_bounded(self, tiny, reference):
        one = tiny("qwen3")
        one.ask([query(some(np.random.default_rng(0), 30), "x")])
        served = tiny("qwen3", cache_bytes=3 * one.lanes[0].bytes)
        rng, most = np.random.default_rng(0), 0
        for step in range(20):
            q = query(some(rng, 30), step % 7)
            (answer,) = served.ask([q])
            assert answer.logp == pytest.approx(reference(served.model, q)[0], abs=1e-4)
            assert sum(lanes.bytes for lanes in served.lanes) <= served.cache_bytes
            most = max(most, len(served.lanes))
        assert most == 3

    def test_the_batch_used_longest_ago_is_forgotten_first(self, tiny):
        rng = np.random.default_rng(0)
        prompts = [some(rng, 30) for _ in range(3)]
        one = tiny("qwen3")
        one.ask([query(prompts[0], 0)])
        served = tiny("qwen3", cache_bytes=2 * one.lanes[0].bytes)
        for key in (0, 1, 0, 2):  # 1 has to go
            served.ask([query(prompts[key], key)])
        assert [lanes.keys for lanes in served.lanes] == [(0,), (2,)]

    def test_what_is_thrown_away_takes_no_room(self, tiny):
        """Tails and summaries come and go; the room they had is used again."""
        served, rng = tiny("qwen3"), np.random.default_rng(0)
        heads, sizes = [some(rng, 20) for _ in range(3)], []
        for _ in range(40):
            served.ask([query(np.append(head, some(rng, 30)), key) for key, head in enumerate(heads)])
            sizes.append(served.lanes[0].bytes)
        assert sizes[-1] == sizes[0]

    def test_rows_that_forget_unequally_take_no_room(self, tiny, reference):
        """As summaries do: another line has changed in each row, and behind it all is written anew."""
        served, rng = tiny("qwen3"), np.random.default_rng(0)
        heads = [some(rng, 20) for _ in range(4)]
        for _ in range(60):
            prompts = [np.concatenate([head[: rng.integers(5, 20)], some(rng, 20)])[:30] for head in heads]
            asked = [query(prompt.astype(np.int32), row) for row, prompt in enumerate(prompts)]
            for q, answer in zip(asked, served.ask(asked), strict=True):
                assert answer.logp == pytest.approx(reference(served.model, q)[0], abs=1e-4)
        assert served.lanes[0].layers[0].columns <= 3 * 30 + 30

    def test_usage_is_all_that_was_read(self, tiny, monkeypatch):
        """The tokens of deeper nodes of the trie too."""
        read, add = [], Lanes.add
        heard = lambda lanes, new, steers: read.append(sum(map(len, new))) or add(lanes, new, steers)  # noqa: E731
        monkeypatch.setattr(Lanes, "add", heard)
        served = tiny("qwen3")
        for asked in mixed(np.random.default_rng(0)):
            read.clear()
            answers = served.ask(asked)
            assert sum(answer.usage[0] for answer in answers) == sum(read)

    def test_no_room_at_all(self, tiny, reference):
        served = tiny("qwen3", cache_bytes=0)
        for asked in tails(np.random.default_rng(0)):
            for q, answer in zip(asked, served.ask(asked), strict=True):
                assert answer.logp == pytest.approx(reference(served.model, q)[0], abs=1e-4)
            assert len(served.lanes) == 1, "that of the last batch"

    def test_a_batch_stays_when_some_rows_are_asked_again(self, tiny, reference):
        """As a retry does: afterwards all rows go on, and only what is new is read."""
        served, rng = tiny("qwen3"), np.random.default_rng(0)
        stems = [some(rng, 20 + row) for row in range(4)]
        served.ask([query(stem, row) for row, stem in enumerate(stems)])
        for rows in ([1, 3], [1, 3], [3]):
            again = served.ask([query(np.append(stems[row], 5).astype(np.int32), row) for row in rows])
            assert all(answer.usage[0] <= 2 for answer in again)
        longer = [np.concatenate([stem, some(rng, 6)]) for stem in stems]
        for stem, answer in zip(longer, served.ask([query(x, row) for row, x in enumerate(longer)]), strict=True):
            assert answer.usage[0] == 6
            assert answer.logp == pytest.approx(reference(served.model, query(stem, 0))[0], abs=1e-4)

    def test_an_interrupted_call_leaves_nothing_half_read(self, tiny, reference):
        """Ctrl-C in a notebook, or too little memory: the next answer must still be right."""
        served, rng = tiny("qwen3"), np.random.default_rng(0)
        stem = some(rng, 20)
        served.ask([query(stem, 0)])
        longer = query(np.append(stem, some(rng, 90)), 0)

        def interrupt(*_):
            raise KeyboardInterrupt

        hook = served.model.model.layers[1].register_forward_pre_hook(interrupt)
        with pytest.raises(KeyboardInterrupt):
            served.ask([longer])
        hook.remove()
        (answer,) = served.ask([longer])
        assert answer.logp == pytest.approx(reference(served.model, longer)[0], abs=1e-4)


class TestWindow:
    def test_too_long_prompts_are_refused(self, tiny):
        served, ids = tiny("qwen3"), np.full(511, 60)
        with pytest.raises(
            ValueError, match="prompt: 513 tokens with the answer do not fit into the window of 512 of qwen3"
        ):
            served.ask([query([60], 0), query(ids, 1)])
        served.ask([query(ids[:510], 1)])

    def test_room_for_the_answer_counts(self, tiny):
        with pytest.raises(ValueError, match="prompt: 513 tokens"):
            tiny("qwen3").ask([Query(np.full(500, 60, np.int32), 0, limit=13)])


class TestChoices:
    def test_a_single_choice_is_certain(self, tiny):
        ids = some(np.random.default_rng(0), 9)
        answers = tiny("qwen3").ask([query(ids, 0, ((5, 6, 1),)), query(ids, 1, ((5, 1),))])
        assert [a.logp.tolist() for a in answers] == [[0.0], [0.0]] and [a.mass for a in answers] == [1.0, 1.0]

    def test_zero_temperature(self, tiny):
        ids = some(np.random.default_rng(0), 9)
        served = tiny("qwen3")
        (warm,), (cold,) = served.ask([query(ids, 0, SHORT)]), served.ask([query(ids, 0, SHORT, 0.0)])
        assert np.exp(cold.logp).tolist() == (np.arange(3) == warm.logp.argmax()).astype(float).tolist()
        assert cold.mass == pytest.approx(warm.mass), "mass is taken at temperature 1"

    def test_other_vocabularies_do_not_matter_but_mass_says_so(self, tiny):
        """Renormalised over the choices: half of the choices, each with twice the odds, less mass."""
        ids, served = some(np.random.default_rng(0), 9), tiny("qwen3")
        (three,), (two,) = served.ask([query(ids, 0, SHORT)]), served.ask([query(ids, 0, SHORT[:2])])
        p = np.exp(three.logp[:2])
        assert np.exp(two.logp) == pytest.approx(p / p.sum(), abs=1e-6)
        assert two.mass == pytest.approx(three.mass * p.sum(), rel=1e-4)


class TestWriting:
    @pytest.mark.parametrize("kind", ["qwen3", "llama-eager", "gpt2", "mistral-sliding", "gemma3-mixed"])
    def test_greedy_text_is_that_of_transformers(self, kind, tiny):
        served, rng = tiny(kind), np.random.default_rng(0)
        prompts = [some(rng, 3, 40) for _ in range(4)]
        written = served.ask([Query(ids, k, temperature=0.0, limit=10) for k, ids in enumerate(prompts)])
        for ids, answer in zip(prompts, written, strict=True):
            expected = served.model.generate(
                torch.tensor([ids.tolist()]),
                attention_mask=torch.ones(1, len(ids), dtype=torch.long),
                max_new_tokens=10,
                do_sample=False,
                pad_token_id=0,
                eos_token_id=None,
            )
            assert list(answer.ids) == expected[0, len(ids) :].tolist()
            assert answer.usage == (len(ids), 0, 10) and answer.logp is None and np.isnan(answer.mass)

    def test_it_ends_at_the_tokens_given(self, tiny):
        served, ids = tiny("qwen3"), some(np.random.default_rng(0), 20)
        (whole,) = served.ask([Query(ids, 0, temperature=0.0, limit=10)])
        end = whole.ids[4]
        at = whole.ids.index(end)
        (cut,) = served.ask([Query(ids, 0, temperature=0.0, limit=10, until=(end,))])
        assert cut.ids == whole.ids[:at] and cut.usage[2] == at + 1

    def test_rows_end_alone(self, tiny):
        """A row that ended early must not disturb the others, whatever their limits."""
        served, rng = tiny("qwen3"), np.random.default_rng(0)
        queries = [Query(some(rng, 4, 30), k, temperature=0.0, limit=3 + 4 * k) for k in range(3)]
        together = served.ask(queries)
        alone = [tiny("qwen3").ask([q])[0] for q in queries]
        assert [a.ids for a in together] == [a.ids for a in alone]
        assert [len(a.ids) for a in together] == [3, 7, 11]

    def test_text_is_a_function_of_the_seed(self, tiny):
        served, ids = tiny("qwen3"), some(np.random.default_rng(0), 20)
        drawn = {}
        for seed in (0, 1, 2, 0, 1, 2):
            (answer,) = served.ask([Query(ids, 0, temperature=3.0, seed=seed, limit=8)])
            assert drawn.setdefault(seed, answer.ids) == answer.ids
        assert len(set(drawn.values())) == 3

    def test_tokens_are_drawn_with_their_probabilities(self, tiny):
        served, ids = tiny("qwen3"), some(np.random.default_rng(0), 20)
        with torch.inference_mode():
            probs = (served.model(torch.tensor([ids.tolist()])).logits[0, -1].double() / 2.0).softmax(0).numpy()
        queries = [Query(ids, k, temperature=2.0, seed=k, limit=1) for k in range(2000)]
        counts = np.bincount([a.ids[0] for a in served.ask(queries)], minlength=300)
        top = probs.argsort()[-5:]
        assert counts[top] / 2000 == pytest.approx(probs[top], abs=0.04)

    def test_choices_after_text(self, tiny, reference):
        served, ids = tiny("qwen3"), some(np.random.default_rng(0), 20)
        (text,) = served.ask([Query(ids, 0, temperature=0.0, limit=6)])
        after = query(np.append(ids, text.ids), 0, SHARED)
        (answer,) = served.ask([after])
        assert answer.logp == pytest.approx(reference(served.model, after)[0], abs=1e-4)
        assert answer.usage[1] >= len(ids), "what was read for the text is not read again"


class TestAgentOnModel:
    task = make("bernoulli-hard", horizon=10)

    def fed(self, served, agent, task, episodes):
        """Columns of each forward pass."""
        columns = []
        hook = served.model.register_forward_pre_hook(
            lambda module, args, kwargs: columns.append(kwargs["input_ids"].shape[1]), with_kwargs=True
        )
        try:
            return columns, rollout(agent, task, episodes=episodes)
        finally:
            hook.remove()

    @pytest.mark.parametrize("layout", ["turns", "log"])
    def test_an_episode_costs_a_few_tokens_per_step(self, layout, speaking):
        served = speaking()
        agent = LLMAgent(served, Prompt(layout=layout))
        columns, runs = self.fed(served, agent, self.task, 6)
        tail = len(agent.writer(self.task.public).tail())
        assert len(columns) == 10 and max(columns[1:]) <= 9 + tail
        assert (runs.usage[:, 1:, 0] <= 9 + tail).all() and (runs.usage[:, :, 2] == 0).all()
        assert (runs.usage[:, 1:, 1] > runs.usage[:, :1, 0] - tail - 1).all()

    def test_a_summary_reads_its_head_once(self, speaking):
        served = speaking()
        agent = LLMAgent(served, Prompt("summary"))
        _, runs = self.fed(served, agent, self.task, 6)
        head = len(agent.writer(self.task.public).head(runs.names[0]))
        assert (runs.usage[:, 1:, 1] >= head).all()

    @pytest.mark.parametrize(
        "prompt", [Prompt(), Prompt("summary"), Prompt(layout="log")], ids=["turns", "summary", "log"]
    )
    def test_the_batch_changes_probabilities_by_rounding_only(self, prompt, speaking, fakes):
        task = fakes.Ending(n_arms=5, horizon=10, means={"kind": "uniform"})
        runs = [rollout(LLMAgent(speaking(), prompt), task, episodes=14, batch=batch) for batch in (14, 1, 7)]
        for other in runs[1:]:
            same = np.cumsum(runs[0].arms != other.arms, axis=1) == 0  # up to the first choice on a boundary
            assert same.mean() > 0.9
            assert np.abs(runs[0].probs - other.probs)[same & (runs[0].arms >= 0)].max() < 1e-4

    def test_the_answer_is_that_of_a_fresh_model(self, speaking, reference):
        """The whole way from history to probabilities, once by the cache and once from nothing."""
        served, asked = speaking(), []
        ask = served.ask
        served.ask = lambda queries: (asked.append([replace(q, ids=q.ids.copy()) for q in queries]), ask(queries))[1]
        runs = rollout(LLMAgent(served), self.task, episodes=3)
        for t, queries in enumerate(asked):
            for b, q in enumerate(queries):
                logp, mass = reference(served.model, q)
                assert runs.probs[b, t] == pytest.approx(np.exp(logp), abs=1e-4)
                assert runs.mass[b, t] == pytest.approx(mass, abs=1e-4)
