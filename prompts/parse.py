"""From a model's text to an arm, as a fair reader would read it."""

from __future__ import annotations

import re
from collections.abc import Sequence


def parse(text: str, names: Sequence[str]) -> int:
    """The arm that a free answer names; -1 if it names none, or more than one.

    A label counts wherever it stands as a word of its own, in any case and in any quotes or markup: `**Red**`,
    "I choose the red button". Where one label contains another ("navy blue", "blue"), the longer one is read.
    """
    longest = sorted(range(len(names)), key=lambda arm: -len(names[arm]))
    words = "|".join(re.escape(names[arm]) for arm in longest)
    named = {found.casefold() for found in re.findall(rf"(?<!\w)(?:{words})(?!\w)", text, flags=re.IGNORECASE)}
    arms = [arm for arm, name in enumerate(names) if name.casefold() in named]
    return arms[0] if len(arms) == 1 else -1
