"""The default driver: says in the log what it would send, and reaches nobody. For development."""

from collections.abc import Sequence

import structlog

from konnect_server.push.driver import SENT, Outcome, Push

log = structlog.get_logger("konnect.push")


class LogDriver:
    """Writes each push to the log, without what was said: logs are read by others."""

    name = "log"

    async def send(self, pushes: Sequence[Push]) -> list[Outcome]:
        """See :class:`konnect_server.push.driver.Driver`."""
        for push in pushes:
            log.info(
                "a push would go out", platform=push.platform, token=f"{push.token[:6]}...",
                title_chars=len(push.title), body_chars=len(push.body), collapse=push.collapse, badge=push.badge,
            )  # fmt: skip
        return [SENT] * len(pushes)
