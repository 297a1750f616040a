"""What is typed into a search field: how it is taken apart, and that nothing that may be typed raises."""

from collections.abc import Iterator

import msgspec
import psycopg
import pytest
from hypothesis import HealthCheck, example, given, settings, strategies as st

from protocol import limits
from storage.search_query import Term, parse

_SIGNS = " \t\n\"'-*&|!:()<>\\@#.,/%$ab1ßé漢\u0301\u200d𝄞"
TYPED = st.text(
    st.one_of(st.sampled_from(_SIGNS), st.characters(codec="utf-8", exclude_characters="\0")),
    max_size=limits.SEARCH_CHARS,
)


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("", []),
        ("  ", []),
        ("dinner", [Term("dinner", prefix=True)]),
        ("dinner ", [Term("dinner")]),
        ("umb* dinner ", [Term("umb", prefix=True), Term("dinner")]),
        ("-rain dinner ", [Term("rain", negative=True), Term("dinner")]),
        ("dinner -rain", [Term("dinner"), Term("rain", negative=True)]),
        ("-rai*", [Term("rai", prefix=True, negative=True)]),
        ('"good morning"', [Term("good morning", phrase=True)]),
        ('-"good morning"x ', [Term("good morning", phrase=True, negative=True), Term("x")]),
        ('"good morning', [Term("good morning", phrase=True)]),
        ('say"hi"', [Term("say"), Term("hi", phrase=True)]),
        ('"" - * -* "!" ? 👍 ', []),
        ("half-time ", [Term("half-time")]),
    ],
)
def test_what_is_typed_is_taken_apart(text: str, terms: list[Term]) -> None:
    assert parse(text) == terms


def test_a_query_has_so_many_parts_and_no_more() -> None:
    assert len(parse("a " * 100)) == limits.SEARCH_TERMS


@given(TYPED)
def test_whatever_is_typed_is_understood(text: str) -> None:
    terms = parse(text)
    assert len(terms) <= limits.SEARCH_TERMS
    assert all(any(character.isalnum() or character == "_" for character in term.text) for term in terms)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(TYPED, st.booleans())
@example("http://a/b'c\\d ", True)
@example("a:* & b | !c <-> 'd' ", True)
@example('"a-b c" -"d-e f" g-h* -i-j', True)
@example("x" * limits.SEARCH_CHARS, False)
def test_whatever_is_typed_the_database_can_seek(control: psycopg.Connection, text: str, by_rank: bool) -> None:
    """Its own grammar of queries never sees what was typed."""
    row = control.execute(
        "select search_messages(%s, null, %s, '{english,german}', null, null, null, null, null, null, null, %s, 20, 9)",
        ("00000000-0000-7000-8000-000000000001", msgspec.json.encode(parse(text)).decode(), by_rank),
    ).fetchone()
    assert row is not None
    assert [hit["seq"] for hit in row[0]["hits"]] in ([], [2])


@pytest.fixture
def control(dsn: str) -> Iterator[psycopg.Connection]:
    """A database with one message to find: all that one could type."""
    connection = psycopg.connect(dsn, autocommit=True)
    person, conversation = "00000000-0000-7000-8000-000000000001", "00000000-0000-7000-8000-000000000002"
    connection.execute(
        "insert into account (id, email, name, password_hash, created_at_ms) values (%s, 'a@b.c', 'Ann', '-', 0)",
        (person,),
    )
    connection.execute(
        "select create_group(%s, %s, 'k', 'Club', 'all', json_build_array(%s::text), 9)",
        (conversation, person, person),
    )
    text = "a ab b 1 ß é 漢 http://a/b'c\\d <b>bold</b> a-b@c.de \x01 \x02 %s $1 x_y 12.5"
    batch = [{"c": conversation, "a": person, "k": "m", "x": text}]
    connection.execute("select append_messages(%s, '[]')", (msgspec.json.encode(batch).decode(),))
    connection.execute("select search_index(array[%s]::uuid[], '{english,german}', 100)", (conversation,))
    yield connection
    connection.close()
