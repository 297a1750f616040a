"""Why a medium cannot be shown, by the codes of find_media() in ``migrations/0007_content.sql``."""

from uuid import UUID

from protocol.errors import NotReady, Refused, UnknownMedium, WrongUse


def refusal(code: str, missing: UUID | None) -> Refused | None:
    """What *code* stands for; *missing*: the medium that is not there. None: the code is about something else."""
    match code:
        case "unknown_medium" if missing is not None:
            return UnknownMedium(missing)
        case "not_ready":
            return NotReady("the upload is not done yet")
        case "wrong_use":
            return WrongUse("a medium is shown as what it was announced as, and a profile photo in a profile alone")
    return None
