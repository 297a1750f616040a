"""Every endpoint over HTTP: those of ``protocol/http.py``, and one for each command that can be called."""

from typing import Final

from protocol import frames
from protocol.calls import CALLS, KEY_HEADER, ON_SOCKET_ONLY, PATH, Call
from protocol.errors import RateLimited, SocketOnly, Unauthorized, UnknownCommand
from protocol.http import BODY_ERRORS, ENDPOINTS, Answer, Endpoint, HeaderParameter, PathParameter
from protocol.schema import answers, examples, prose
from protocol.schema.catalogue import tag

_REPEATS: Final = (
    f"A repeat with the same key is answered as the first was, whether it comes here or by socket. The key is the "
    f"header `{KEY_HEADER}`, or `key` in the body; if both are given they must be the same."
)


def _endpoint(call: Call) -> Endpoint:
    result = frames.RESULTS[call.command]
    example = examples.COMMANDS[call.command].get("key", "")
    header = HeaderParameter(KEY_HEADER, frames.Key, "The key, where the body has none. Taken as it stands.", example)
    return Endpoint(
        f"call{call.command.__name__}", "POST", call.path, "calls", prose.summary(call.command),
        "\n\n".join([prose.text(call.command), *([_REPEATS] if call.keyed else [])]),
        {200: Answer(prose.text(result), result, example=examples.result(call.command))},
        (*BODY_ERRORS, Unauthorized, RateLimited, *answers.ERRORS[call.command]), call.body, auth="bearer",
        headers=(header,) if call.keyed else (),
    )  # fmt: skip


_OTHERS: Final = Endpoint(
    "call", "POST", PATH + "/{command}", "calls", "What cannot be called",
    "A name that is no command's is answered with `unknown_command`. These commands make sense only on a socket, and "
    "are answered with `socket_only`:\n\n"
    + "\n\n".join(f"`{tag(command)}`: {why}." for command, why in ON_SOCKET_ONLY.items()),
    {}, (UnknownCommand, SocketOnly),
    parameters=(PathParameter("command", str, "The command's name."),),
)  # fmt: skip

ALL: Final[tuple[Endpoint, ...]] = (*ENDPOINTS, *(_endpoint(call) for call in CALLS.values()), _OTHERS)
