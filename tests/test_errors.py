"""Errors and close codes: stable, unique, explained, and all in their lists."""

import inspect
import re
from uuid import UUID

import pytest

from protocol import closing, errors
from protocol.errors import KonnectError, Refused, TryLater, catalogue
from protocol.schema import answers, examples, prose
from protocol.schema.catalogue import COMMANDS

USER, CONVERSATION = UUID(int=1), UUID(int=2)


def own_classes() -> list[type[KonnectError]]:
    """Every error class of the file that may be raised: those that nothing is derived from."""
    classes = [thing for thing in vars(errors).values() if isinstance(thing, type) and issubclass(thing, KonnectError)]
    return [cls for cls in classes if cls not in (KonnectError, Refused, TryLater)]


def test_the_catalogue_has_every_error_once() -> None:
    """In the order of the file, without the classes that only hold others together."""
    assert catalogue() == own_classes()


def test_codes_are_unique() -> None:
    """A client tells errors apart by code alone."""
    codes = [error.code for error in catalogue()]
    assert len(set(codes)) == len(codes)
    assert not {"error", "refused", "try_later"} & set(codes), "an error has no code of its own"


@pytest.mark.parametrize("error", catalogue(), ids=lambda error: error.code)
def test_an_error_is_explained(error: type[KonnectError]) -> None:
    """What happened, what to do, a status that fits, a code that is a word for machines."""
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", error.code)
    assert prose.text(error).endswith(".")
    assert error.fix.endswith(".")
    assert 400 <= error.status <= 599
    assert issubclass(error, Refused) != issubclass(error, TryLater)
    if issubclass(error, Refused):
        assert error.status < 500, "a request that is wrong is not the server's fault"


@pytest.mark.parametrize("error", catalogue(), ids=lambda error: error.code)
def test_the_tree_in_the_docstring_shows_every_error(error: type[KonnectError]) -> None:
    """Class and code on one line, beneath the right branch."""
    tree = errors.__doc__ or ""
    assert re.search(rf"── {error.__name__}\s+{error.code}\s+\S", tree)
    branch = "Refused" if issubclass(error, Refused) else "TryLater"
    before = tree[: tree.index(f"── {error.__name__} ")]
    assert re.findall(r"^    [├└]── (\w+)", before, re.MULTILINE)[-1] == branch


def test_the_tree_shows_nothing_else() -> None:
    """A class that is gone must go from the drawing."""
    drawn = re.findall(r"^    (?:│   |    )[├└]── (\w+)", errors.__doc__ or "", re.MULTILINE)
    assert drawn == [error.__name__ for error in catalogue()]


def test_an_error_says_whom_and_what() -> None:
    """The text names what the request named, and the same stands as attributes."""
    for error in (errors.NotAMember(USER, CONVERSATION), errors.AlreadyAMember(USER, CONVERSATION)):
        assert str(USER) in str(error)
        assert str(CONVERSATION) in str(error)
        assert (error.user, error.conversation) == (USER, CONVERSATION)
    assert str(USER) in str(errors.UnknownUser(USER))
    reused = errors.KeyReused("m-1")
    assert "'m-1'" in str(reused)
    assert reused.key == "m-1"


def test_only_being_too_fast_says_when_to_come_again() -> None:
    """For the others no time would be true."""
    assert errors.RateLimited(250).retry_after_ms == errors.SlowMode(250).retry_after_ms == 250
    for error in catalogue():
        if error not in (errors.RateLimited, errors.SlowMode):
            assert examples.occurrence(error).retry_after_ms is None


@pytest.mark.parametrize("error", catalogue(), ids=lambda error: error.code)
def test_an_example_of_each_error_can_be_made(error: type[KonnectError]) -> None:
    """The documents show one case of each; its text is more than the code."""
    one = examples.occurrence(error)
    assert type(one) is error
    assert len(str(one)) > 5


def test_every_command_says_which_errors_it_may_get() -> None:
    """None is forgotten, none named twice, and what every command may get is not repeated."""
    assert set(answers.ERRORS) == set(COMMANDS)
    for own in answers.ERRORS.values():
        assert len(set(own)) == len(own)
        assert not set(own) & {*answers.COMMON_ERRORS, *answers.FRAME_ERRORS}


def test_errors_of_the_socket_are_in_the_catalogue() -> None:
    """And those of HTTP alone are what is left."""
    assert answers.on_socket() < set(catalogue())


# --- Close codes ------------------------------------------------------------------------------------------------------


def test_the_list_of_close_codes_is_whole() -> None:
    """Every constant of the file, each once."""
    made = [thing for thing in vars(closing).values() if isinstance(thing, closing.Close)]
    assert sorted(made) == sorted(closing.ALL)
    assert len({close.code for close in closing.ALL}) == len(closing.ALL)
    assert len({close.reason for close in closing.ALL}) == len(closing.ALL)


@pytest.mark.parametrize("close", closing.ALL, ids=lambda close: close.reason)
def test_a_close_code_says_whether_to_come_back(close: closing.Close) -> None:
    """By its range alone; its reason is a word that fits a close frame (RFC 6455, section 5.5: 123 bytes)."""
    assert 4000 <= close.code <= 4999
    assert close.come_back == (close.code < 4500)
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", close.reason)
    assert len(close.reason.encode()) <= 123
    assert close.meaning.endswith(".")


def test_an_error_and_a_close_of_the_same_name_mean_the_same() -> None:
    """A client may be told first by an error and then by the close."""
    reasons = {close.reason for close in closing.ALL}
    shared = {error.code for error in catalogue()} & reasons
    assert shared == {"unauthorized", "hello_first", "too_many_sockets", "unavailable"}


def test_the_rooms_of_errors_and_closes_are_documented() -> None:
    """Their captions stand first, for those who read the files."""
    for module in (errors, closing):
        assert (inspect.getdoc(module) or "").splitlines()[0].rstrip().endswith((".", '."'))
