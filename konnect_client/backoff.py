"""How long to wait before the next attempt: full jitter, so that a restarted server meets no herd.

Prior art: "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015); Centrifugo's client specification, which
draws between a floor and a ceiling that doubles.
"""

from random import Random
from typing import Final

FLOOR_S: Final = 0.5
CEILING_S: Final = 20.0
RETRY_AFTER_MOST_S: Final = 300.0  # a server's wish for more is taken for this much


class Backoff:
    """Draws each delay between a floor and a ceiling that starts at twice the floor and doubles up to ``ceiling_s``."""

    def __init__(self, random: Random, floor_s: float = FLOOR_S, ceiling_s: float = CEILING_S) -> None:
        if not 0 <= floor_s <= ceiling_s:
            raise ValueError(f"the floor ({floor_s} s) must lie between 0 and the ceiling ({ceiling_s} s)")
        self._random, self._floor_s, self._ceiling_s = random, floor_s, ceiling_s
        self.attempts = 0

    def delay_s(self, retry_after_s: float | None = None) -> float:
        """Seconds until the next attempt; counts one attempt.

        With *retry_after_s*, the server's wish, the draw comes on top of it, so that those who were told the same
        time do not come back together.
        """
        self.attempts += 1
        ceiling = min(self._ceiling_s, self._floor_s * 2.0 ** min(self.attempts, 60))
        drawn = self._random.uniform(min(self._floor_s, ceiling), ceiling)
        return drawn + min(max(0.0, retry_after_s or 0.0), RETRY_AFTER_MOST_S)

    def reset(self) -> None:
        """The last attempt went well: begin again with short delays."""
        self.attempts = 0
