"""Commands as calls over HTTP: ``POST /v1/call/<command>`` with the command's fields as JSON, without ``t`` and ``id``.

Made from the Structs of ``protocol/frames/`` by themselves: a command that is added there is a call, unless it stands
in ``ON_SOCKET_ONLY``.
"""

from typing import Any, Final, NamedTuple, get_args

import msgspec
from msgspec import NODEFAULT, UNSET, Struct, UnsetType

from protocol import frames
from protocol.errors import Invalid, KonnectError, SocketOnly, UnknownCommand

PATH: Final = "/v1/call"
KEY_HEADER: Final = "Idempotency-Key"

# Command -> why it makes no sense without a socket.
ON_SOCKET_ONLY: Final[dict[type[frames.Command], str]] = {
    frames.Hello: "it signs in on the socket that it comes on; a call brings its token in the Authorization header",
    frames.AuthRenew: "it keeps the socket that it comes on open; a call brings the newest token itself",
    frames.Ping: "it asks whether the socket that it comes on lives, and its data is MessagePack; see /healthz",
    frames.PresenceWatch: "what it asks for comes as events on the socket that it comes on",
}


class Call(NamedTuple):
    """One command that can be called."""

    name: str  # what stands in ``t``
    command: type[frames.Command]
    body: type[Struct]  # the command's fields; ``key`` may be absent, for a header may bring it

    @property
    def path(self) -> str:
        """Where it is called."""
        return f"{PATH}/{self.name}"

    @property
    def keyed(self) -> bool:
        """True when a repeat is known by its key."""
        return "key" in self.command.__struct_fields__

    def made(self, body: Struct, keys: list[str]) -> frames.Command:
        """The command that *body* and the values of KEY_HEADER among *keys* ask for; its ``id`` is 0.

        Raises:
            Invalid: No key or more than one, or what the command's own type refuses.
        """
        fields = {name: getattr(body, name) for name in body.__struct_fields__}
        if self.keyed:
            given = list(dict.fromkeys(key for key in (fields["key"], *keys) if key is not UNSET))
            if not given:
                raise Invalid(f"a key is needed: the header {KEY_HEADER}, or `key` in the body - at `$.key`")
            if len(given) > 1:
                raise Invalid(f"the header {KEY_HEADER} and `key` in the body are not the same - at `$.key`")
            fields["key"] = given[0]
        fields = {name: value for name, value in fields.items() if value is not UNSET}
        try:
            # Through the type once more, which has not seen the header, and whose own check the body does not have.
            return msgspec.convert({"t": self.name, "id": 0, **fields}, self.command)
        except msgspec.ValidationError as problem:
            raise Invalid(str(problem)) from problem


def _call(command: type[frames.Command]) -> Call:
    fields: list[Any] = []
    for field in msgspec.structs.fields(command):
        if field.name == "key":
            fields.append((field.name, field.type | UnsetType, UNSET))
        elif field.name != "id":
            factory = field.default_factory
            default = field.default if factory is NODEFAULT else msgspec.field(default_factory=factory)
            fields.append((field.name, field.type) if field.required else (field.name, field.type, default))
    about = {"__doc__": command.__doc__}
    body = msgspec.defstruct(
        f"{command.__name__}Body", fields, frozen=True, kw_only=True, namespace=about, module=__name__
    )
    return Call(str(command.__struct_config__.tag), command, body)


CALLS: Final[dict[str, Call]] = {
    call.name: call for call in (_call(one) for one in get_args(frames.AnyCommand) if one not in ON_SOCKET_ONLY)
}
_REFUSED: Final = {str(one.__struct_config__.tag): why for one, why in ON_SOCKET_ONLY.items()}


def no_call(name: str) -> KonnectError:
    """Why *name* cannot be called."""
    if name in _REFUSED:
        return SocketOnly(f"{name} makes sense only on a socket: {_REFUSED[name]}")
    return UnknownCommand(f"no command is called {name[:64]!r}")
