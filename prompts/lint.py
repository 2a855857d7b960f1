"""What a prompt costs over an episode, before any model is called."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from icrl.envs import tape
from icrl.envs.tape import Stream
from icrl.envs.types import AnyWorld, Choice, Floats, Ints, Outcome, View
from icrl.prompts.bounds import longest
from icrl.prompts.chat import Chat
from icrl.prompts.parse import shares
from icrl.prompts.pieces import Pieces, Tokens
from icrl.prompts.prompt import Prompt
from icrl.prompts.talk import Talk
from icrl.prompts.writer import Writer

Step = tuple[View, Choice, Outcome]
"""What was seen, chosen and paid."""
SHARED = 0.5
"""Share of a prompt that stands again in the next one, below which a warning is due."""


@dataclass(frozen=True)
class Lint:
    """The prompts of one episode of T steps, of a player that chooses at random."""

    tokens: Ints
    """[T] length of the prompt at each step."""
    again: Ints
    """[T] its first tokens that stand at the same place in the prompt of the step before; 0 at the first."""
    warnings: tuple[str, ...]

    @property
    def shared(self) -> Floats:
        """[T] share of each prompt that a cache has read at the step before."""
        return self.again / self.tokens

    @property
    def without_cache(self) -> int:
        """Tokens that are read if every prompt is read from its beginning."""
        return int(self.tokens.sum())

    @property
    def with_cache(self) -> int:
        """Tokens that are read if what stood in the prompt of the step before is reused."""
        return int((self.tokens - self.again).sum())


def lint(prompt: Prompt, task: AnyWorld, tokenizer: Any, *, seed: int = 0) -> Lint:
    """Writes the prompts of one episode without playing it: arms and rewards are drawn, contexts stay as they begin.

    Past answers are those of `prompts_of`, so thoughts are not counted.

    Args:
        prompt: What is written.
        task: Tells arms, horizon and kind of rewards.
        tokenizer: Of transformers.
        seed: Of the labels, arms and rewards.

    Raises:
        ValueError: Such a task cannot be told this way, or has no horizon; or a budget is too small.
    """
    public, episode = task.public, np.zeros(1, np.int64)
    if public.horizon is None:
        raise ValueError("horizon: the task has none, so it has no last prompt")
    writer = Writer(prompt, public, Pieces(tokenizer), Chat.of(tokenizer, prompt.thinks))
    longest(writer)  # is a budget large enough?
    talk = Talk.begin(writer, prompt.names(public, episode, seed), episode, seed)
    prompts = list(prompts_of(talk, _drawn(task, seed, public.horizon)))
    tokens = np.array([len(ids) for ids in prompts])
    again = np.array([0, *map(common, prompts[:-1], prompts[1:])])
    return Lint(tokens, again, tuple(_warnings(prompt, tokens, again, prompts, tokenizer)))


def prompts_of(talk: Talk, steps: Iterable[Step]) -> Iterator[Tokens]:
    """What a model would read before each of these steps of one episode, if it had chosen as the player did.

    Its past answers are labels; where it is to write probabilities, those of the player, or equal shares if they are
    unknown. What it would have thought cannot be known: thoughts that are kept are empty.
    """
    for view, choice, outcome in steps:
        talk, (ids,) = talk.asked(view)
        yield ids.copy()
        talk = talk.answered(view, _written(talk, view, choice), outcome)


def _written(talk: Talk, view: View, choice: Choice) -> Choice:
    """A choice with the text that a model would have written for it, where that is more than labels."""
    if not talk.writer.prompt.shares:
        return Choice(choice.arm)
    probs = view.legal / view.legal.sum(axis=1, keepdims=True) if choice.probs is None else choice.probs[:, 0]
    told = map(shares, talk.names, probs.tolist())
    return Choice(choice.arm, text=tuple("".join(texts) for texts in told))


def _drawn(task: AnyWorld, seed: int, horizon: int) -> Iterator[Step]:
    """Steps of a player that chooses at random, in a world that pays at random."""
    public, episode = task.public, np.zeros(1, np.int64)
    first, over = task.view(task.start(episode, seed)), np.zeros(1, np.bool_)
    there = np.flatnonzero(first.legal[0])
    for t in range(horizon):
        view = replace(first, t=episode + t, trial=episode + t // (public.game or 1))
        luck = tape.uniform(tape.key(seed, Stream.LINT, episode, t, np.arange(1 + public.slots)))
        paid = float(luck[1] < 0.5) if public.reward == "bernoulli" else 4 * luck[1] - 2
        arms = there[(np.delete(luck, 1) * len(there)).astype(np.int64)]
        yield view, Choice(arms[None]), Outcome(np.array([paid]), over, over)


def common(a: Tokens, b: Tokens) -> int:
    """How many first tokens two prompts share."""
    n = min(len(a), len(b))
    same = a[:n] == b[:n]
    return n if same.all() else int(same.argmin())


def _warnings(prompt: Prompt, tokens: Ints, again: Ints, prompts: list[Tokens], tokenizer: Any) -> list[str]:
    found = []
    window = getattr(tokenizer, "model_max_length", None)
    if window is not None and tokens[-1] > window:
        found.append(f"the last prompt has {tokens[-1]} tokens, the tokenizer's model reads at most {window}")
    if len(tokens) > 1 and (share := float(np.median(again[1:] / tokens[1:]))) < SHARED:
        changed = tokenizer.decode(prompts[-1][again[-1] : again[-1] + 12])
        why = "" if prompt.append_only else f" (history: {prompt.past.kind} is written anew at each step)"
        found.append(
            f"something that changes stands early{why}: only {share:.0%} of a prompt is read again from a cache; "
            f"the last one changes from {changed!r} on"
        )
    return found
