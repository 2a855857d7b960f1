"""Deterministic stand-ins: models whose answers are a hash, worlds for one question each, and a spy."""

from __future__ import annotations

import re
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

import numpy as np

from icrl.agents import (
    ALGORITHMS,
    UCB,
    Corral,
    EpsilonGreedy,
    EpsilonMix,
    LLMAgent,
    Mixture,
    PriorThompson,
    Restarting,
    Schedule,
    Stating,
    Steering,
    Stubborn,
    ThompsonSampling,
    ToEntropy,
    TryAll,
    Unsure,
)
from icrl.agents.hybrids import Both
from icrl.envs import Bandit, Choice, UniformMeans, tape
from icrl.envs.tape import Stream
from icrl.finetune.tokenizer import TEMPLATE
from icrl.models import Answer, Query, SteeringVector
from icrl.prompts import Hints, Prompt, Stochastic, Window

__all__ = ["AGENTS", "TEMPLATE"]

FIVE = ("red", "blue", "green", "yellow", "orange")

# ------------------------------------------------------------------------------------------------------ tokenizers


def word_tokenizer() -> Any:
    """Pocket's own, without its model."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(str(files("icrl.models") / "pocket"))


def byte_tokenizer(template: str | None) -> Any:
    """One token per byte, so that the text of any ids is exact."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, chat_template=template, **special)


class CountingTokenizer:
    """Passes everything on and remembers what was encoded."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer, self.encoded = tokenizer, []

    def encode(self, text: str, **kwargs: Any) -> list[int]:
        self.encoded.append(text)
        return self._tokenizer.encode(text, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tokenizer, name)


# ---------------------------------------------------------------------------------------------------------- models


def unit(*parts: bytes) -> float:
    """A number in [0, 1) that is a hash of `parts`."""
    return zlib.crc32(b"|".join(parts)) / 2**32


@dataclass
class FakeModel:
    """The logit of each choice is a hash of the whole prompt and the choice; what was asked is kept."""

    tokenizer: Any
    window: int = 100_000
    name: str = "fake"
    exact: bool = True
    asked: list[list[Query]] = field(default_factory=list, repr=False)

    @property
    def facts(self) -> dict[str, str]:
        return {"model": self.name}

    def check_steering(self, vector: SteeringVector) -> None:
        """Any will do."""

    def ask(self, queries: list[Query]) -> list[Answer]:
        self.asked.append([replace(q, ids=q.ids.copy()) for q in queries])  # prompts are views of a growing buffer
        return [self._answer(q) for q in queries]

    def _answer(self, query: Query) -> Answer:
        prompt = query.ids.tobytes()
        steer = repr(query.steer and query.steer.key).encode()
        logits = np.array([4 * unit(prompt, repr(choice).encode(), steer) for choice in query.choices])
        if query.temperature == 0:
            logp = np.where(np.arange(len(logits)) == logits.argmax(), 0.0, -np.inf)
        else:
            logp = logits / query.temperature
            logp = logp - np.log(np.exp(logp).sum())
        return Answer((len(query.ids), 0, 0), logp, unit(prompt, b"mass"))


@dataclass
class Writing(FakeModel):
    """Writes the text that `script` gives for a query."""

    script: Callable[[Query], str] = lambda query: "red"

    def _answer(self, query: Query) -> Answer:
        ids = tuple(self.tokenizer.encode(self.script(query), add_special_tokens=False))
        assert len(ids) <= query.limit, "the script writes more than the limit"
        return Answer((len(query.ids), 0, len(ids)), ids=ids)


@dataclass
class Thinking(Writing):
    """Writes a thought where one is asked for; then answers as `Writing`, or as `FakeModel` where choices are given."""

    thought: Callable[[Query], str] = lambda query: "red, it seems.\nAnswer:"

    def _answer(self, query: Query) -> Answer:
        if query.choices is not None:
            return FakeModel._answer(self, query)
        if not query.stop:
            return super()._answer(query)
        ids = tuple(self.tokenizer.encode(self.thought(query), add_special_tokens=False))
        cut = len(ids) >= query.limit and query.stop not in self.tokenizer.decode(ids[: query.limit])
        return Answer((len(query.ids), 0, len(ids[: query.limit])), ids=ids[: query.limit], cut=cut)


def thought_by_hash(query: Query) -> str:
    """A thought that ends as it should, one that is cut, one that ends with the turn, or none."""
    texts = ("red paid.\nAnswer:", "Hm, " * 50, "I wonder", "Answer:", "blue?\n\nAnswer:\n")
    return texts[int(unit(query.ids.tobytes(), str(query.seed).encode()) * len(texts))]


def by_hash(query: Query) -> str:
    """A label, a sentence with one, or something unreadable."""
    texts = (*FIVE, *(f"I choose {name}" for name in FIVE), "???", "red or blue", "")
    return texts[int(unit(query.ids.tobytes(), str(query.seed).encode()) * len(texts))]


def shares_by_hash(query: Query) -> str:
    """Probabilities of two of five labels, or something unreadable."""
    first = int(unit(query.ids.tobytes(), str(query.seed).encode()) * 6)
    return "hm" if first == 5 else f"{FIVE[first]}: 0.75\n{FIVE[first - 1]}: 0.25"


def brute_force(model: Any, query: Query) -> tuple[Any, float]:
    """(logp of each choice, mass) of a transformers model: one row, no cache, every path by itself."""
    import torch

    known: dict[tuple[int, ...], Any] = {}

    def logits(path: tuple[int, ...]) -> Any:
        if path not in known:
            with torch.inference_mode():
                ids = torch.tensor([[*query.ids.tolist(), *path]])
                out = model(input_ids=ids, use_cache=False).logits[0].double()
            for i in range(len(path) + 1):
                known[path[: len(path) - i]] = out[-1 - i]
        return known[path]

    choices = query.choices
    for choice in choices:
        logits(choice[:-1])
    logp, raw = np.zeros(len(choices)), np.zeros(len(choices))
    for c, choice in enumerate(choices):
        for i, token in enumerate(choice):
            children = sorted({other[i] for other in choices if other[:i] == choice[:i]})
            if len(children) > 1:
                row = logits(choice[:i])
                raw[c] += row.log_softmax(0)[token]
                logp[c] += (row[children] / query.temperature).log_softmax(0)[children.index(token)]
    return logp, np.exp(raw).sum()


def save_lora(folder: Any, model: Any, std: float, targets: Sequence[str]) -> Any:
    """Saves, by PEFT, a LoRA adapter of random weights for a transformers model; gives its folder."""
    import peft
    import torch

    wrapped = peft.get_peft_model(model, peft.LoraConfig(r=4, target_modules=list(targets)))
    torch.manual_seed(0)
    for name, weight in wrapped.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(weight, std=std)
    wrapped.save_pretrained(folder)
    return folder


@dataclass
class Overheard:
    """A model whose answers to choices are kept."""

    model: Any
    heard: list[tuple[Query, Answer]] = field(default_factory=list, repr=False)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.model, name)

    def ask(self, queries: list[Query]) -> list[Answer]:
        answers = self.model.ask(queries)
        asked = [replace(q, ids=q.ids.copy()) for q in queries]
        self.heard += [pair for pair in zip(asked, answers, strict=True) if pair[0].choices is not None]
        return answers


# ---------------------------------------------------------------------------------------------------------- agents


@cache
def documented() -> dict[str, Any]:
    """What docs/extending.md defines."""
    page = (Path(__file__).parent.parent / "docs" / "extending.md").read_text(encoding="utf-8")
    names: dict[str, Any] = {"__name__": "icrl_documented"}
    sys.modules["icrl_documented"] = ModuleType("icrl_documented")  # pydantic looks up the names that classes use
    for block in re.findall(r"```python\n(.*?)```", page, re.S):
        exec(block, names)  # our own page
        vars(sys.modules["icrl_documented"]).update(names)
    return names


CLASSICAL: dict[str, Any] = {name: algorithm() for name, algorithm in ALGORITHMS.items()} | {
    "epsilon-often": EpsilonGreedy(epsilon=0.2),
    "epsilon-decaying": EpsilonGreedy(epsilon=1.0, decay=3.0),
    "ucb-half": UCB(alpha=0.5),
    "ucb-constant": UCB(c=1.0),
    "thompson-unknown": ThompsonSampling(variance="unknown"),
    "thompson-prior": ThompsonSampling(prior=(0.5, 0.3)),
    "stubborn-less": Stubborn(stay=0.8),
    "documented": documented()["BayesUCB"](),
    "stating": Stating(EpsilonGreedy(epsilon=0.3)),
    "try-all-ucb": TryAll(ThompsonSampling()),
    "mix-of-two": Mixture(UCB(), TryAll(ThompsonSampling()), Schedule(0.8, 0.2, 10)),
    "restarting": Restarting(ThompsonSampling()),
}

PROMPTS: dict[str, Prompt] = {
    "llm-turns": Prompt("raw", labels=FIVE),
    "llm-log": Prompt("raw", layout="log", labels=FIVE),
    "llm-summary": Prompt("summary", labels=FIVE),
    "llm-window": Prompt(Window(last=4, first=2), "ads", labels=FIVE, hints=UCB()),
    "llm-hints": Prompt(Stochastic(keep=0.5), layout="log", labels=FIVE, hints=Hints(ThompsonSampling(), ("arm",))),
    "llm-positive": Prompt("positive", "slots", labels=FIVE, instructions="advice", horizon="told"),
    "llm-retry": Prompt("raw", labels=FIVE, answer="free", on_failure="retry", retries=1),
    "llm-resample": Prompt("raw", labels=FIVE, answer="free", on_failure="resample"),
    "llm-distribution": Prompt(labels=FIVE, answer="distribution", on_failure="resample"),
    "llm-thought": Prompt("raw", labels=FIVE, answer="thought", max_thought=24),
    "llm-thought-kept": Prompt("raw", labels=FIVE, answer="thought", thoughts="kept", max_thought=24),
    "llm-thought-shares": Prompt("raw", labels=FIVE, answer="thought-distribution", thoughts="kept", max_thought=24),
    "llm-thought-log": Prompt("summary", layout="log", labels=FIVE, answer="thought", max_thought=24),
    "llm-budget": Prompt("raw", labels=FIVE, budget=230),
    "llm-forfeit": Prompt("raw", layout="log", labels=FIVE, answer="free", on_failure="forfeit"),
}

STEERED: dict[str, Any] = {
    "llm-steered-unsure": Unsure(scale=3.0, most=2.0),
    "llm-steered-closed": ToEntropy(target=0.5, rate=1.0, most=3.0),
}
VECTOR = SteeringVector(np.ones((1, 4), np.float32), (0,))

HYBRIDS: dict[str, Any] = {
    "try-all": lambda llm: TryAll(llm("llm-turns")),
    "try-all-free": lambda llm: TryAll(llm("llm-forfeit")),
    "epsilon-mix": lambda llm: EpsilonMix(llm("llm-turns"), 0.3),
    "mixture": lambda llm: Mixture(llm("llm-turns"), ThompsonSampling(), Schedule(1.0, 0.0, 8)),
    "mixture-free": lambda llm: Mixture(llm("llm-retry"), Mixture(UCB(), TryAll(ThompsonSampling()))),
    "corral": lambda llm: Corral(llm("llm-summary"), Stating(EpsilonGreedy(epsilon=0.3)), budget=5),
    "prior": lambda llm: PriorThompson(llm("llm-turns")),
    "restarting-mixture": lambda llm: Restarting(Mixture(llm("llm-turns"), TryAll(ThompsonSampling()))),
    "mixture-steered": lambda llm: Mixture(llm("llm-steered-closed"), ThompsonSampling(), Schedule(1.0, 0.0, 8)),
    "mixture-restarting": lambda llm: Mixture(llm("llm-turns"), Restarting(ThompsonSampling())),
}

AGENTS = (*CLASSICAL, *PROMPTS, *STEERED, *HYBRIDS)


def agent(name: str, tokenizer: Any) -> Any:
    """An agent by its name in AGENTS; language-model agents get a fake model of their own."""
    if name in CLASSICAL:
        return CLASSICAL[name]
    if name in HYBRIDS:
        return HYBRIDS[name](lambda inside: agent(inside, tokenizer))
    if name in STEERED:
        return LLMAgent(FakeModel(tokenizer), Prompt(labels=FIVE), steering=Steering(VECTOR, STEERED[name]))
    prompt = PROMPTS[name]
    if prompt.answer == "direct":
        return LLMAgent(FakeModel(tokenizer), prompt)
    script = shares_by_hash if prompt.shares else by_hash
    return LLMAgent(Thinking(tokenizer, script=script, thought=thought_by_hash), prompt)


class Spy:
    """Plays like `agent` and shows `see` all that it was given: (agent, state, view, outcome or None)."""

    def __init__(self, agent: Any, see: Callable[[Any, Any, Any, Any], None]) -> None:
        self._agent, self._see = agent, see

    def __getattr__(self, name: str) -> Any:
        return getattr(self._agent, name)

    def __repr__(self) -> str:
        return repr(self._agent)

    def act(self, state: Any, view: Any) -> Any:
        state, choice = self._agent.act(state, view)
        self._see(self._agent, state, view, None)
        return state, choice

    def update(self, state: Any, view: Any, choice: Any, outcome: Any) -> Any:
        state = self._agent.update(state, view, choice, outcome)
        self._see(self._agent, state, view, outcome)
        return state


def snapshot(state: Any) -> dict[str, Any]:
    """Copies of the arrays of a state; of a stem's buffer, only what has been said."""
    if isinstance(state, Both):
        parts = {f"{i}": snapshot(part) for i, part in enumerate(state.parts)}
        return parts | {"pulls": state.pulls.copy(), "extra": [cells.copy() for cells in state.extra]}
    arrays = {f.name: getattr(state, f.name) for f in fields(state)}
    arrays |= vars(arrays.pop("totals")) if "totals" in arrays else {}
    arrays = {name: value.copy() for name, value in arrays.items() if isinstance(value, np.ndarray)}
    if "ids" in arrays:
        arrays["ids"][np.arange(arrays["ids"].shape[1]) >= arrays["stem"][:, None]] = 0
        arrays["ids"] = arrays["ids"][:, : arrays["stem"].max()]
    return arrays


@dataclass(frozen=True)
class Scripted:
    """Plays `arms` [B, T] whatever happens; -1 forfeits."""

    arms: Any
    block = None

    def check(self, public: Any) -> None: ...

    def names(self, public: Any, episodes: Any, seed: int) -> None:
        return None

    def start(self, public: Any, names: Any, episodes: Any, seed: int) -> Any:
        return np.asarray(self.arms)[episodes]

    def act(self, state: Any, view: Any) -> Any:
        return state, Choice(state[np.arange(len(view.t)), view.t][:, None])

    def update(self, state: Any, view: Any, choice: Any, outcome: Any) -> Any:
        return state

    def take(self, state: Any, rows: Any) -> Any:
        return state[rows]


# ---------------------------------------------------------------------------------------------------------- worlds


class Ending(Bandit):
    """Ends at random, each episode at its own time; blocks of even index go much sooner than odd ones."""

    def step(self, state: Any, arm: Any) -> Any:
        u = tape.uniform(tape.key(99, Stream.FAILURE, state.episode, state.t))
        hazard = np.where(state.episode // 256 % 2 == 0, 0.25, 0.05)
        after, outcome, truth = super().step(state, arm)
        return after, replace(outcome, terminated=(u < hazard) & ~outcome.truncated), truth


class Unknown(Bandit):
    """Nobody knows what its arms pay on average."""

    n_arms: int = 2
    horizon: int = 5
    means: UniformMeans = UniformMeans()

    def step(self, state, arm):
        state, outcome, truth = super().step(state, arm)
        return state, outcome, replace(truth, gap=np.full_like(truth.gap, np.nan))


class Open(Ending):
    """Does not tell its horizon."""

    @property
    def public(self) -> Any:
        return replace(super().public, horizon=None)


class Table(Bandit):
    """Rewards are coin flips from the tape whatever the means are: two of these differ in their truth only."""

    def step(self, state: Any, arm: Any) -> Any:
        after, outcome, truth = super().step(replace(state, means=np.full_like(state.means, 0.5)), arm)
        mean = np.take_along_axis(state.means, np.maximum(arm, 0), axis=1)[:, 0]
        gap = np.where(arm[:, 0] < 0, np.nan, state.highest - mean)
        return replace(after, means=state.means), outcome, replace(truth, gap=gap)


# ------------------------------------------------------------------------------------------------------- agreement

TOLERANCE = 1e-4


def assert_same_play(a: Any, b: Any) -> None:
    """Probabilities agree, and choices differ only where the drawn uniform lies at a boundary."""
    assert a.episode.tolist() == b.episode.tolist()
    assert a.names == b.names
    u = tape.uniform(tape.key(a.seed, Stream.POLICY, a.episode[:, None], np.arange(a.horizon)))
    for row in range(len(a)):
        differ = np.flatnonzero(a.arms[row] != b.arms[row])
        same = int(differ[0]) if len(differ) else a.horizon  # after a split the histories are others
        until = min(same + 1, a.horizon)
        np.testing.assert_allclose(a.probs[row, :until], b.probs[row, :until], atol=TOLERANCE)
        np.testing.assert_array_equal(a.rewards[row, :same], b.rewards[row, :same])
        if len(differ):
            boundaries = a.probs[row, same].cumsum()
            assert np.abs(boundaries - u[row, same]).min() < TOLERANCE


# ------------------------------------------------------------------------------------------------------- reachable


def reachable(*roots: Any) -> Iterator[Any]:
    """Everything that can be reached from `roots` through fields, attributes, containers and closures."""
    todo, seen = list(roots), set()
    while todo:
        value = todo.pop()
        if id(value) in seen or isinstance(value, (type, ModuleType, BuiltinFunctionType, str, bytes, int, float)):
            continue
        seen.add(id(value))
        yield value
        if isinstance(value, dict):
            todo += [*value.keys(), *value.values()]
        elif isinstance(value, (list, tuple, set, frozenset)) or (isinstance(value, np.ndarray) and value.dtype == "O"):
            todo += list(value)
        elif isinstance(value, FunctionType):
            todo += [cell.cell_contents for cell in value.__closure__ or ()] + list(value.__defaults__ or ())
        else:
            slots = [s for kind in type(value).__mro__ for s in getattr(kind, "__slots__", ())]
            todo += [getattr(value, s) for s in slots if hasattr(value, s)]
            todo += list(getattr(value, "__dict__", {}).values())
            todo += [value.__self__] if hasattr(value, "__self__") else []
