"""Every action's twin: what the fake does where ``storage.actions.FUNCTIONS`` names a function of the database."""

from typing import Final

from storage.scheduled import SendScheduled
from tests.simulate import messages, scheduled
from tests.simulate.messages import Act

ACTIONS: Final[dict[type, Act]] = {
    **messages.ACTIONS,
    SendScheduled: scheduled.send_scheduled,
}
