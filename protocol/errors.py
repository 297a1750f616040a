"""The error tree: one class per thing that can go wrong between a client and Konnect.

::

    KonnectError
    ├── Refused                     the request can never succeed as it stands
    │   ├── BadFrame                bad_frame            not one MessagePack map
    │   ├── BinaryOnly              binary_only          a text message
    │   ├── UnknownCommand          unknown_command      no command has this "t"
    │   ├── Invalid                 invalid              a field is missing, of the wrong type or out of bounds
    │   ├── BadCursor               bad_cursor           a cursor this server did not write
    │   ├── HelloFirst              hello_first          a command before hello
    │   ├── HelloTwice              hello_twice          a second hello
    │   ├── Unauthorized            unauthorized         token missing, malformed, expired or for somebody else
    │   ├── BadCredentials          bad_credentials      unknown e-mail or wrong password
    │   ├── EmailTaken              email_taken          the address has an account
    │   ├── BadCode                 bad_code             a one-time code that is no good (any more)
    │   ├── NameNeeded              name_needed          a good code, but no account, and no name to make one
    │   ├── AccountSuspended        account_suspended    the operator has closed the account
    │   ├── NotFound                not_found            nothing here by that name
    │   ├── MethodNotAllowed        method_not_allowed   the address exists, the method does not
    │   ├── UnknownUser             unknown_user         no such person
    │   ├── NotAMember              not_a_member         not (or no longer) in the conversation, or there is none
    │   ├── AlreadyAMember          already_a_member     the person is in the conversation
    │   ├── Forbidden               forbidden            a member, but without the right
    │   ├── WrongKind               wrong_kind           a direct conversation has fixed members
    │   ├── KeyReused               key_reused           the key was used with other content
    │   ├── UnknownMessage          unknown_message      no message there that this person may see
    │   ├── MessageDeleted          message_deleted      the message was deleted
    │   ├── TooLate                 too_late             the time for it is over
    │   ├── TooManyReactions        too_many_reactions   the message has its most reactions
    │   ├── TooManyOfOnesOwn        too_many             as many of these are one's own as may be
    │   ├── InAThread               in_a_thread          the message is in a thread itself, and has none
    │   ├── UnknownPoll             unknown_poll         the message is no poll
    │   ├── PollClosed              poll_closed          the poll was closed
    │   ├── ConversationClosed      conversation_closed  the two may not write to each other now
    │   ├── UnknownScheduled        unknown_scheduled    no scheduled message of this person by that id
    │   ├── TooManyScheduled        too_many_scheduled   as many messages wait as may
    │   ├── TooManyPins             too_many_pins        the conversation has its most pins
    │   ├── ConversationFull        conversation_full    the group has its most members
    │   ├── Banned                  banned               the person is barred from the conversation
    │   ├── TooManyAdmins           too_many_admins      the conversation has its most admins
    │   ├── UnknownLink             unknown_link         no such join link
    │   ├── LinkOver                link_over            a join link that is revoked, used up or out of time
    │   ├── TooManyLinks            too_many_links       the conversation has its most join links
    │   ├── UnknownRequest          unknown_request      nobody asks so to be let in
    │   ├── TooManyRequests         too_many_requests    too many people ask to be let in
    │   ├── AlreadyAnswered         already_answered     one has sent the person a first message before
    │   ├── AlreadyMet              already_met          the two know each other: a first message is not for them
    │   ├── NotWhilePaused          paused               one meets nobody new while one has paused
    │   ├── UnknownMatch            unknown_match        the person has no match with that id
    │   ├── NotAllowedToWrite       not_allowed_to_write the deployment does not let the two write to each other
    │   ├── UnknownPost             unknown_post         no such post, or none that the person may see
    │   ├── UnknownComment          unknown_comment      no such comment, or none that the person may see
    │   ├── TooManySockets          too_many_sockets     the person has too many sockets open
    │   ├── TooLarge                too_large            a body or frame over its limit
    │   ├── BadRequest              bad_request          an HTTP request, or its JSON body, that cannot be read
    │   ├── HeadTooLarge            head_too_large       an HTTP request line and headers over their limit
    │   ├── UnsupportedMediaType    unsupported_media_type  an HTTP body that is not JSON
    │   ├── UnknownMedium           unknown_medium       no such medium, or none that the person may see
    │   ├── UploadMissing           upload_missing       nothing has arrived at the upload's address
    │   ├── NotReady                not_ready            the medium's upload is not done
    │   ├── WrongSize               wrong_size           other than the size that was announced
    │   ├── WrongChecksum           wrong_checksum       other than the SHA-256 that was announced
    │   ├── WrongType               wrong_type           not of the type that was announced, or of none that is taken
    │   ├── WrongUse                wrong_use            a profile photo elsewhere, or something else as one
    │   ├── QuotaExceeded           quota_exceeded       the person's media take all the room they may
    │   ├── BadLink                 bad_link             a signed address that is altered, or out of time
    │   ├── BadRange                bad_range            a Range that begins behind the end
    │   ├── UpgradeNeedsNewConnection  upgrade_needs_new_connection  an upgrade on a connection that already served HTTP
    │   ├── HandleTaken             handle_taken         somebody has the handle, or nobody may
    │   ├── TooYoung                too_young            younger than this server lets in
    │   ├── Leaving                 leaving              the account is being deleted
    │   └── SocketOnly              socket_only          a call over HTTP of a command that needs a socket
    └── TryLater                    the same request may succeed later
        ├── RateLimited             rate_limited         with retry_after_ms
        ├── SlowMode                slow_mode            with retry_after_ms
        ├── RequestTimeout          request_timeout      an HTTP request that took too long to arrive
        ├── Unavailable             unavailable          storage does not answer
        └── InternalError           internal_error       a bug of ours, contained
"""

from typing import ClassVar
from uuid import UUID


class KonnectError(Exception):
    """Something a client is told: ``code`` is stable and for machines, ``str(error)`` is for people."""

    code: ClassVar[str] = "error"
    status: ClassVar[int] = 500  # over HTTP
    fix: ClassVar[str] = ""  # what the client may do about it; printed in docs/protocol.md

    @property
    def retry_after_ms(self) -> int | None:
        """When the same request may be tried again, in milliseconds; None when time does not help."""
        return None


class Refused(KonnectError):
    """The request can never succeed as it stands."""

    code, status, fix = "refused", 400, "Change the request."


class TryLater(KonnectError):
    """The same request may succeed later; repeating it with the same key is safe."""

    code, status, fix = "try_later", 503, "Repeat the same request, with the same key, later."


class BadFrame(Refused):
    """The message is not one MessagePack map."""

    code, status, fix = "bad_frame", 400, "Send one MessagePack map per WebSocket message."


class BinaryOnly(Refused):
    """A text message arrived; frames are binary messages."""

    code, status, fix = "binary_only", 400, "Send binary WebSocket messages."


class UnknownCommand(Refused):
    """No command has this ``t``."""

    code, status, fix = "unknown_command", 400, "Look the name up in this document; newer commands need a newer server."


class Invalid(Refused):
    """A field is missing, of the wrong type or out of bounds; the message names it."""

    code, status, fix = "invalid", 400, "Correct the field that the message names."


class BadCursor(Refused):
    """The cursor is not one that a Konnect server wrote."""

    code, status, fix = "bad_cursor", 400, "Drop the cursor and send hello without one."


class HelloFirst(Refused):
    """A command came before ``hello`` was answered."""

    code, status, fix = "hello_first", 401, "Send hello first."


class HelloTwice(Refused):
    """This connection has said hello already."""

    code, status, fix = "hello_twice", 400, "Send hello once; renew a token with auth.renew."


class Unauthorized(Refused):
    """The token is missing, malformed, expired or somebody else's."""

    code, status, fix = "unauthorized", 401, "Get a new access token (POST /v1/auth/refresh) and try again with it."


class BadCredentials(Refused):
    """Unknown e-mail or wrong password: the answer is the same, so that nobody learns which."""

    code, status, fix = "bad_credentials", 401, "Check e-mail and password."


class EmailTaken(Refused):
    """The address already has an account."""

    code, status, fix = "email_taken", 409, "Sign in, or use another address."


class BadCode(Refused):
    """The one-time code is wrong, was used, is out of time, or was tried too often: the answer is the same."""

    code, status, fix = "bad_code", 401, "Check the code; ask for a new one when in doubt."


class NameNeeded(Refused):
    """The code is good, but its address has no account, and without a name none is made."""

    code, status, fix = "name_needed", 409, "Repeat the request, with the same code, and with a name."


class AccountSuspended(Refused):
    """The operator has suspended the account; said only to who proved that it is theirs."""

    code, status, fix = "account_suspended", 403, "Ask whoever runs the server."


class NotFound(Refused):
    """Nothing here by that name."""

    code, status, fix = "not_found", 404, "Check the address or the id."


class MethodNotAllowed(Refused):
    """The address exists, but not with this method."""

    code, status, fix = "method_not_allowed", 405, "Use a method that the Allow header names."


class UnknownUser(Refused):
    """No such person."""

    code, status, fix = "unknown_user", 404, "Check the user's id."

    def __init__(self, user: UUID | str) -> None:
        super().__init__(f"there is no user {user}")
        self.user = user


class NotAMember(Refused):
    """The person is not, or no longer, a member of the conversation; or there is no such conversation."""

    code, status, fix = "not_a_member", 403, "Ask a member to add you."

    def __init__(self, user: UUID, conversation: UUID) -> None:
        super().__init__(f"user {user} is not a member of conversation {conversation}")
        self.user, self.conversation = user, conversation


class AlreadyAMember(Refused):
    """The person to add is a member already."""

    code, status, fix = "already_a_member", 409, "Nothing to do."

    def __init__(self, user: UUID, conversation: UUID) -> None:
        super().__init__(f"user {user} is already a member of conversation {conversation}")
        self.user, self.conversation = user, conversation


class Forbidden(Refused):
    """A member, but without the right to do this."""

    code, status, fix = "forbidden", 403, "Ask somebody who has the right."


class WrongKind(Refused):
    """A direct conversation has its two members for ever."""

    code, status, fix = "wrong_kind", 409, "Create a group instead."


class KeyReused(Refused):
    """The key was used before with other content; the first stands."""

    code, status, fix = "key_reused", 409, "Make a new key for new content."

    def __init__(self, key: str) -> None:
        super().__init__(f"key {key!r} was used before with other content")
        self.key = key


class UnknownMessage(Refused):
    """There is no message at that place, or none that this person may see."""

    code, status, fix = "unknown_message", 404, "Check the message's seq: only entries of kind message are messages."

    def __init__(self, conversation: UUID, seq: int) -> None:
        super().__init__(f"entry {seq} of conversation {conversation} is no message that you may see")
        self.conversation, self.seq = conversation, seq


class MessageDeleted(Refused):
    """The message was deleted; nothing can be done with it any more."""

    code, status, fix = "message_deleted", 410, "Nothing to do; show the message as deleted."


class TooLate(Refused):
    """The time in which this may be done is over."""

    code, status, fix = "too_late", 403, "Send a new message instead."


class TooManyReactions(Refused):
    """The person has reacted to the message with as many emoji as one may, or it has as many as a message may."""

    code, status, fix = "too_many_reactions", 409, "Take a reaction back first, or use an emoji that is there already."


class TooManyOfOnesOwn(Refused):
    """The person has as many of these as one may have: pinned conversations, names for the people of one."""

    code, status, fix = "too_many", 409, "Let one go first."


class InAThread(Refused):
    """The message is in a thread itself, and has none of its own."""

    code, status, fix = "in_a_thread", 409, "Name the root of its thread: its `content.thread`."


class UnknownPoll(Refused):
    """The message asks nothing."""

    code, status, fix = "unknown_poll", 404, "Check the message's seq: only messages with a poll are polls."


class PollClosed(Refused):
    """The poll was closed; nobody may choose any more."""

    code, status, fix = "poll_closed", 409, "Show its result."


class ConversationClosed(Refused):
    """The direct conversation is closed: the two may not write to each other now."""

    code, status, fix = "conversation_closed", 403, "Show the conversation as one to read, until `conversation.opened`."


class UnknownScheduled(Refused):
    """The person has no scheduled message with that id."""

    code, status, fix = "unknown_scheduled", 404, "Read them again with message.scheduled."


class TooManyScheduled(Refused):
    """As many of the person's messages wait in the conversation as may, those that failed among them."""

    code, status, fix = "too_many_scheduled", 409, "Take one back, or wait until one is sent."


class TooManyPins(Refused):
    """The conversation has as many pinned messages as it may have."""

    code, status, fix = "too_many_pins", 409, "Take another one down first."


class ConversationFull(Refused):
    """The group has as many members as this server allows."""

    code, status, fix = "conversation_full", 409, "Remove somebody first, or create another group."


class Banned(Refused):
    """The person is barred from the conversation."""

    code, status, fix = "banned", 403, "Ask an admin of the conversation to lift the ban, or wait for its end."


class TooManyAdmins(Refused):
    """The conversation has as many admins as one may."""

    code, status, fix = "too_many_admins", 409, "Make an admin a plain member first."


class UnknownLink(Refused):
    """There is no such join link."""

    code, status, fix = "unknown_link", 404, "Check the code; ask whoever sent it for another one."


class LinkOver(Refused):
    """The join link was revoked, or is used up or out of time."""

    code, status, fix = "link_over", 410, "Ask for another link."


class TooManyLinks(Refused):
    """The conversation has as many join links as it may."""

    code, status, fix = "too_many_links", 409, "Revoke one that is no longer needed."


class UnknownRequest(Refused):
    """The person does not ask to be let in, or was answered before."""

    code, status, fix = "unknown_request", 404, "Read the list of requests anew."


class TooManyRequests(Refused):
    """As many people ask to be let in as may wait."""

    code, status, fix = "too_many_requests", 409, "Ask again when an admin has answered some."


# --- openers and matches ---


class AlreadyAnswered(Refused):
    """One has sent this person a first message before; that tells nothing of the person."""

    code, status, fix = "already_answered", 409, "Wait: one first message for each person is all there is."


class AlreadyMet(Refused):
    """The two are contacts: a first message is not for them."""

    code, status, fix = "already_met", 409, "Write to the person in your conversation."


class NotWhilePaused(Refused):
    """Who has paused meets nobody new."""

    code, status, fix = "paused", 403, "End the pause first."


class UnknownMatch(Refused):
    """The person has no match with that id."""

    code, status, fix = "unknown_match", 404, "Read them again with match.list."


class NotAllowedToWrite(Refused):
    """This deployment lets only contacts, or only people who match, write to each other; or there is no such person."""

    code, status, fix = "not_allowed_to_write", 403, "Send a contact request or a first message."


class UnknownPost(Refused):
    """There is no such post, or none that this person may see: the answer is the same."""

    code, status, fix = "unknown_post", 404, "Read the list of posts anew."


class UnknownComment(Refused):
    """There is no such comment, or none that this person may see or change: the answer is the same."""

    code, status, fix = "unknown_comment", 404, "Read the list of comments anew."


class TooManySockets(Refused):
    """The person has as many sockets open as this server allows."""

    code, status, fix = "too_many_sockets", 429, "Close another device's socket; the same device replaces its own."


class TooLarge(Refused):
    """A body or a frame is over its limit."""

    code, status, fix = "too_large", 413, "Send less at once."


class BadRequest(Refused):
    """The HTTP request, or its JSON body, cannot be read."""

    code, status, fix = "bad_request", 400, "Send well-formed HTTP/1.1, and one JSON object as the body."


class HeadTooLarge(Refused):
    """The request line and headers are over their limit."""

    code, status, fix = "head_too_large", 431, "Send fewer or shorter headers."


class UnsupportedMediaType(Refused):
    """The body is of a kind that is not taken here."""

    code, status, fix = "unsupported_media_type", 415, "Send JSON, with Content-Type: application/json."


class UnknownMedium(Refused):
    """There is no such medium, or none that this person may see: the answer is the same."""

    code, status, fix = "unknown_medium", 404, "Check the medium's id; an upload that was not finished is forgotten."

    def __init__(self, medium: UUID) -> None:
        super().__init__(f"there is no medium {medium} here")
        self.medium = medium


class UploadMissing(Refused):
    """Nothing has arrived at the upload's address."""

    code, status, fix = "upload_missing", 409, "Send the file to the address that the upload got, then say done again."


class NotReady(Refused):
    """The medium's upload is not done yet."""

    code, status, fix = "not_ready", 409, "Finish the upload: POST /v1/uploads/{id}/done must have succeeded."


class WrongSize(Refused):
    """What arrived is longer or shorter than what was announced; it was thrown away."""

    code, status, fix = "wrong_size", 422, "Send the very file that was announced, to the same address."


class WrongChecksum(Refused):
    """What arrived has another SHA-256 than what was announced; it was thrown away."""

    code, status, fix = "wrong_checksum", 422, "Send the very file that was announced, to the same address."


class WrongType(Refused):
    """The type is none that this kind of medium may have, or the content is not of the announced type."""

    code, status, fix = "wrong_type", 422, "Announce the type that the file really has, or use the kind file."


class WrongUse(Refused):
    """A profile photo belongs to a profile, and nothing else does."""

    code, status, fix = "wrong_use", 409, "Upload the file again, as the kind that fits."


class QuotaExceeded(Refused):
    """The person's media take all the room that this server gives, or too many uploads are unfinished."""

    code, status, fix = "quota_exceeded", 409, "Finish uploads, or wait until unused ones are forgotten."


class BadLink(Refused):
    """The signed address was altered or is out of time, or what is sent to it is not what it was signed for."""

    code, status, fix = "bad_link", 403, "Ask for a new address, and use it as it stands."


class BadRange(Refused):
    """The Range header asks for what lies behind the end."""

    code, status, fix = "bad_range", 416, "Ask for bytes that are there; Content-Range tells how many are."


class UpgradeNeedsNewConnection(Refused):
    """A WebSocket upgrade came on a connection that has already served HTTP."""

    code, status, fix = (
        "upgrade_needs_new_connection",
        421,
        "Open a new connection for the upgrade; behind a proxy, switch kept-alive connections to Konnect off.",
    )


class HandleTaken(Refused):
    """Somebody has the handle, or it is one that nobody may have."""

    code, status, fix = "handle_taken", 409, "Take another one."

    def __init__(self, handle: str) -> None:
        super().__init__(f"the handle {handle!r} is taken")
        self.handle = handle


class TooYoung(Refused):
    """The person is younger than this server lets in."""

    code, status, fix = "too_young", 403, "Nothing to do, but to correct a day that was mistyped."
class Leaving(Refused):
    """The account is being deleted: `account.return` comes before anything else of that kind."""

    code, status, fix = "leaving", 409, "Let the person return first, by account.return."


class SocketOnly(Refused):
    """The command makes sense only on a socket, and was called over HTTP."""

    code, status, fix = "socket_only", 400, "Open the socket and send the command there."


class RateLimited(TryLater):
    """Too many commands in too short a time."""

    code, status, fix = "rate_limited", 429, "Wait retry_after_ms, then repeat."

    def __init__(self, retry_after_ms: int) -> None:
        super().__init__(f"too many commands; try again in {retry_after_ms} ms")
        self._retry_after_ms = retry_after_ms

    @property
    def retry_after_ms(self) -> int | None:
        """Milliseconds until the same command would be accepted."""
        return self._retry_after_ms


class SlowMode(TryLater):
    """The conversation is in slow mode, and the person wrote there a moment ago."""

    code, status, fix = "slow_mode", 429, "Wait retry_after_ms, then repeat with the same key."

    def __init__(self, retry_after_ms: int) -> None:
        super().__init__(f"the conversation is in slow mode; try again in {retry_after_ms} ms")
        self._retry_after_ms = retry_after_ms

    @property
    def retry_after_ms(self) -> int | None:
        """Milliseconds until the same message would be accepted."""
        return self._retry_after_ms


class RequestTimeout(TryLater):
    """The HTTP request took too long to arrive."""

    code, status, fix = "request_timeout", 408, "Send the whole request without pauses."


class Unavailable(TryLater):
    """Storage does not answer; what was acknowledged is safe, this request's outcome may be unknown."""

    code, status, fix = "unavailable", 503, "Repeat with the same key after a moment."


class InternalError(TryLater):
    """A bug of ours, contained; it is in the server's log."""

    code, status, fix = "internal_error", 500, "Repeat with the same key; tell the operator if it persists."


def catalogue() -> list[type[KonnectError]]:
    """Every error a client can meet, in the order of this file."""

    def leaves(cls: type[KonnectError]) -> list[type[KonnectError]]:
        below = cls.__subclasses__()
        return [leaf for sub in below for leaf in leaves(sub)] if below else [cls]

    return leaves(KonnectError)


def told(code: str, text: str, retry_after_ms: int) -> KonnectError:
    """The error that an ``error`` frame tells of: its class and its words, but no attributes of its own.

    *retry_after_ms* counts for those that have one. A code that is not in the catalogue is a bug of ours.
    """
    kind = next((one for one in catalogue() if one.code == code), InternalError)
    if kind is RateLimited or kind is SlowMode:
        return kind(retry_after_ms)
    return kind.__new__(kind, text)  # not made of its parts, which the text holds already
