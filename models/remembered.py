"""What a server's prefix cache should hold of a conversation: it tells so of one prompt per request only."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from icrl.models.base import Tokens, common
from icrl.models.steering import Steer, alike

MOST = 4096
_NOTHING = np.zeros(0, np.int32)


@dataclass
class Remembered:
    """The last prompt of each conversation, of the last MOST conversations."""

    last: dict[object, tuple[Tokens, Steer | None]] = field(default_factory=dict)

    def again(self, key: object, ids: Tokens, steer: Steer | None = None) -> int:
        """How many first tokens of a prompt stood in the conversation's last one, steered alike; at least one is new.

        A cache reuses whole blocks, so this is too much by less than a block; what other conversations share (their
        instructions) does not count.
        """
        before, steered = self.last.pop(key, (_NOTHING, None))
        n = int(min(common(before, ids[:-1]), alike(steer, steered)))
        self.last[key] = ids.copy(), steer  # prompts are views of a growing buffer
        if len(self.last) > MOST:
            del self.last[next(iter(self.last))]
        return n
