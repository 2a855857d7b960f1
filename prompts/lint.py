"""What a prompt costs over an episode, before any model is called."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from icrl.envs import tape
from icrl.envs.tape import Stream
from icrl.envs.types import AnyWorld, Choice, Floats, Ints, Outcome, View
from icrl.prompts.chat import Chat
from icrl.prompts.pieces import Pieces, Tokens
from icrl.prompts.prompt import Prompt
from icrl.prompts.talk import Talk
from icrl.prompts.writer import Writer

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

    Thoughts are not counted.

    Args:
        prompt: What is written.
        task: Tells arms, horizon and kind of rewards.
        tokenizer: Of transformers.
        seed: Of the labels, arms and rewards.

    Raises:
        ValueError: Such a task cannot be told this way, or has no horizon.
    """
    public = task.public
    if public.horizon is None:
        raise ValueError("horizon: the task has none, so it has no last prompt")
    episode = np.zeros(1, np.int64)
    writer = Writer(prompt, public, Pieces(tokenizer), Chat.of(tokenizer, prompt.thinks))
    talk = Talk.begin(writer, prompt.names(public, episode, seed), episode, seed)
    first, prompts = task.view(task.start(episode, seed)), list[Tokens]()
    for t in range(public.horizon):
        view = View(episode, episode + t, episode + t // (public.game or 1), first.legal, first.context, first.obs)
        talk, (ids,) = talk.asked(view)
        prompts.append(ids.copy())
        luck = tape.uniform(tape.key(seed, Stream.LINT, episode, t, np.arange(1 + public.slots)))
        there = np.flatnonzero(first.legal[0])
        paid = float(luck[1] < 0.5) if public.reward == "bernoulli" else 4 * luck[1] - 2
        over = np.zeros(1, np.bool_)
        arms = there[(np.delete(luck, 1) * len(there)).astype(np.int64)]
        talk = talk.answered(view, Choice(arms[None]), Outcome(np.array([paid]), over, over))
    tokens = np.array([len(ids) for ids in prompts])
    again = np.array([0, *map(common, prompts[:-1], prompts[1:])])
    return Lint(tokens, again, tuple(_warnings(prompt, tokens, again, prompts, tokenizer)))


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
