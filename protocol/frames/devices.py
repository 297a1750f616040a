"""Devices that take pushes."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from protocol import limits
from protocol.frames.base import Command
from protocol.frames.fields import NO_NUL, AtMs, Device

Platform = Literal["android", "ios", "web"]
PushToken = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=limits.PUSH_TOKEN_CHARS,
        pattern=NO_NUL,
        description="What the push service gave this installation of the app. It belongs to who registered it last.",
    ),
]


class DeviceRegister(Command, frozen=True, tag="device.register"):
    """Let a device of one's own take pushes, or give it a new token: at each start, for tokens change. It ends with the
    sign-in that this command came by, and with a token that reaches nobody any more. Answered with :class:`Done`."""

    device: Device
    platform: Annotated[Platform, Meta(description="What runs on it.")]
    token: PushToken


class DeviceUnregister(Command, frozen=True, tag="device.unregister"):
    """Send no more pushes to a device of one's own; it is no error when it took none. Answered with :class:`Done`."""

    device: Device


class DeviceList(Command, frozen=True, tag="device.list"):
    """One's own devices that take pushes. Answered with :class:`Devices`."""

    limit: Annotated[
        int, Meta(ge=1, le=limits.PUSH_DEVICES, description="At most so many, registered last first.")
    ] = limits.PUSH_DEVICES


class PushDevice(Struct, frozen=True, omit_defaults=True):
    """A device that takes pushes. Its token is told to nobody."""

    device: Annotated[str, Meta(description="As in `hello`.")]
    platform: Annotated[Platform, Meta(description="What runs on it.")]
    at_ms: Annotated[AtMs, Meta(description="When it was registered last: Unix milliseconds (UTC).")]
    connected: Annotated[bool, Meta(description="Whether it has a socket open: then it needs no pushes.")] = False


class Devices(Struct, frozen=True):
    """One's own devices that take pushes."""

    devices: Annotated[list[PushDevice], Meta(description="Registered last first.")]
