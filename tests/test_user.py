"""One person's devices in this process."""

from konnect_server.user import User
from tests.fakes import ANN, FakeReader


def person(**numbers: int | None) -> User:
    """Ann, with a device for each of these numbers."""
    user = User(ANN)
    for device, number in numbers.items():
        user.devices[device] = one = FakeReader(ANN, device)
        one.number = number
    return user


def test_a_persons_number_is_what_every_device_was_told() -> None:
    assert person(phone=7, laptop=5).number == 5
    assert person(phone=7).number == 7


def test_nobody_was_told_anything_yet() -> None:
    assert person().number is None
    assert person(phone=None, laptop=None).number is None


def test_a_device_on_its_first_way_does_not_hide_what_another_misses() -> None:
    """While one device, with a slow client, was being brought up to date for the first time, the sweep did not ask for
    its person at all: the other devices never heard of a group they were added to by a bell that was lost."""
    assert person(phone=None, laptop=5).number == 5


def test_all_devices_look() -> None:
    user = person(phone=1, laptop=None)
    user.look()
    assert [one.looks for one in user.devices.values()] == [1, 1]  # type: ignore[attr-defined]
