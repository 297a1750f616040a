"""Verified tokens in one block of memory."""

from uuid import UUID, uuid4

from hypothesis import given, strategies as st

from konnect_server.remembered import Claims, Remembered


def claims(expires_at_s: int = 100) -> Claims:
    return Claims(uuid4(), uuid4(), expires_at_s)


@given(
    tokens=st.dictionaries(
        st.text("abc.-_", max_size=12), st.tuples(st.uuids(), st.uuids(), st.integers(0, 2**63 - 1)), max_size=8
    )
)
def test_what_is_kept_is_found_as_it_was(tokens: dict[str, tuple[UUID, UUID, int]]) -> None:
    remembered = Remembered(4_096)
    for token, said in tokens.items():
        assert remembered.find(Remembered.digest(token)) is None
        remembered.keep(Remembered.digest(token), Claims(*said))
        assert remembered.find(Remembered.digest(token)) == Claims(*said)
    assert {token: remembered.find(Remembered.digest(token)) for token in tokens} == {
        one: Claims(*said) for one, said in tokens.items()
    }


def test_a_token_that_is_not_known_is_not_found() -> None:
    remembered = Remembered(8)
    assert remembered.find(Remembered.digest("")) is None
    for number in range(100):
        remembered.keep(Remembered.digest(f"token {number}"), claims())
    assert remembered.find(Remembered.digest("another")) is None


def test_when_all_places_are_taken_the_one_that_ends_first_makes_room() -> None:
    remembered = Remembered(4)  # one group: every token has the same four places
    for number, expires_at_s in enumerate((400, 100, 300, 200)):
        remembered.keep(Remembered.digest(f"{number}"), claims(expires_at_s))
    remembered.keep(Remembered.digest("new"), claims(500))
    assert [number for number in range(4) if remembered.find(Remembered.digest(f"{number}")) is None] == [1]
    assert remembered.find(Remembered.digest("new")) is not None


def test_most_of_as_many_as_there_are_places_stay() -> None:
    """Few digests share their four places with too many others."""
    remembered = Remembered(1_024)
    for number in range(512):
        remembered.keep(Remembered.digest(f"token {number}"), claims())
    assert sum(remembered.find(Remembered.digest(f"token {number}")) is not None for number in range(512)) > 480
