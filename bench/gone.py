"""What a server holds once everybody has gone: an empty one is to be back where it began."""

from typing import Any, Final

import trio

from bench.loadgen import Load, Served
from bench.report import say

SETTLE_S: Final = 15.0  # longer than Konnect shows as present who has gone (presence_grace_s, 10)
BACK_WITHIN: Final = 0.1  # of the memory before
_MIB: Final = 1 << 20


async def memory_around(server: Served, load: Load, settle_s: float) -> dict[str, Any]:
    """The server's memory before the first sign-in and *settle_s* seconds after the last socket has gone.

    Returns:
        ``rss_empty_before_mib``, ``rss_empty_after_mib``, and ``rss_empty_ratio``, the second over the first; None
        where memory cannot be told.
    """
    say("all have gone")
    await trio.sleep(settle_s)
    before, after = load.cost_before, server.cost()
    if before is None or after is None:
        return dict.fromkeys(("rss_empty_before_mib", "rss_empty_after_mib", "rss_empty_ratio"))
    return {
        "rss_empty_before_mib": round(before.server_rss / _MIB, 1),
        "rss_empty_after_mib": round(after.server_rss / _MIB, 1),
        "rss_empty_ratio": round(after.server_rss / before.server_rss, 3),
    }


def remark(name: str, memory: dict[str, Any]) -> str:
    """One sentence about it, for people."""
    before, after, ratio = memory["rss_empty_before_mib"], memory["rss_empty_after_mib"], memory["rss_empty_ratio"]
    if ratio is None:
        return f"{name}: memory cannot be told here"
    verdict = "back within 10 %" if ratio <= 1 + BACK_WITHIN else "NOT back within 10 %"
    return f"{name}: the empty server had {before:g} MiB before and has {after:g} MiB when all have gone: {verdict}"
