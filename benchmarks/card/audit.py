"""Whether the corpus gives away what has to be learnt, and how often it repeats itself."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from card.common import each
from icrl.finetune.audit import Audit, beside, leak, placed
from icrl.finetune.corpus import DIARIES, Corpus
from icrl.prompts.chat import ChatTokenizer

ARMS = 5
"""Games of as many arms are compared: they all have the same places."""


def audit(tokenizer: ChatTokenizer, batches: int) -> dict[str, Any]:
    """Mutual information in nats, what chance alone would give, and a permutation test's p-value; and repeated rows.

    Of the games with one best arm that stays the best, of batches after the warm-up: whether its place in the list, or
    its label, tells it.
    """
    corpus, rows = Corpus(tokenizer, seed=0), Counter[bytes]()
    games = Audit()
    for i in each(range(DIARIES.warmup, DIARIES.warmup + batches), "audit"):
        if i % 4 == 0:
            rows.update(row.ids.tobytes() for row in corpus.batch(i))
        _, _, played = corpus.games(i, np.random.default_rng((corpus.seed, i)))
        games.add(played, None)
    names, best = games.games[ARMS]
    rng = np.random.default_rng(0)
    found = leak(np.array(names), np.array(best), rng) | {"label and place": placed(np.array(names), rng)}
    return {
        "information": {what: beside(nats) for what, nats in found.items()},
        "games": len(best),
        "rows": rows.total(),
        "repeated": sum(n - 1 for n in rows.values()),
    }
