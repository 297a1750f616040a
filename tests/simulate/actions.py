"""Every action's twin: what the fake does where ``storage.actions.FUNCTIONS`` names a function of the database."""

from typing import Final

from protocol.frames import ConversationRetention, PollClose, PollCreate, PollVote
from storage.scheduled import ExpireMessages, SendScheduled
from tests.simulate import links, members, messages, polls, retention, scheduled
from tests.simulate.messages import Act

ACTIONS: Final[dict[type, Act]] = {
    **messages.ACTIONS,
    **members.ACTIONS,
    **links.ACTIONS,
    SendScheduled: scheduled.send_scheduled,
    ConversationRetention: retention.set_retention,
    PollCreate: polls.create_poll,
    PollVote: polls.vote_poll,
    PollClose: polls.close_poll,
    ExpireMessages: retention.expire_messages,
}
