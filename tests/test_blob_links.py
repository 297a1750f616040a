"""Signed addresses: what was signed is good until its time, and nothing else ever is."""

import string
from urllib.parse import parse_qsl, urlencode

import pytest
from hypothesis import given, strategies as st

from storage import blob_links
from storage.blob_links import Link

SECRET = blob_links.secret_of(b"s" * 32)
KEY = "media/0199a1b2-0000-7000-8000-000000000001-1"
GET = Link("GET", KEY, {"expires": "2000", "type": "image/png", "name": "a b&c=d.png"})
PUT = Link("PUT", "incoming/x", {"expires": "2000", "size": "5", "type": "image/png", "sha256": "0" * 64})

texts = st.text(max_size=40)
links = st.builds(
    lambda key, kind, expires, one, two: (
        Link("GET", key, {"expires": str(expires), "type": one, "name": two})
        if kind
        else Link("PUT", key, {"expires": str(expires), "type": one, "sha256": two, "size": "7"})
    ),
    st.text(string.ascii_lowercase + "/-.", min_size=1, max_size=40), st.booleans(), st.integers(1, 2**40),
    texts, texts,
)  # fmt: skip


@given(link=links)
def test_what_was_signed_is_read_back(link: Link) -> None:
    """Whatever the fields hold, up to the last second, and for HEAD where GET is allowed."""
    query = blob_links.query(SECRET, link)
    assert blob_links.read(SECRET, link.method, link.key, query, link.expires_s - 1) == link
    assert blob_links.read(SECRET, link.method, link.key, query, link.expires_s) is None
    if link.method == "GET":
        assert blob_links.read(SECRET, "HEAD", link.key, query, 0) == link


@given(link=links, other=links)
def test_a_signature_is_good_for_its_own_link_alone(link: Link, other: Link) -> None:
    """Under another method, key, field or value it is nothing."""
    signature = dict(parse_qsl(blob_links.query(SECRET, link), keep_blank_values=True))["signature"]
    query = urlencode({**other.fields, "signature": signature})
    found = blob_links.read(SECRET, other.method, other.key, query, 0)
    assert (found is not None) == (link == other)


@pytest.mark.parametrize("link", [GET, PUT], ids=["GET", "PUT"])
def test_every_character_of_an_address_counts(link: Link) -> None:
    """The signature's and all others: each one changed, left out, doubled, or in another case."""
    query = blob_links.query(SECRET, link)
    for at, old in enumerate(query):
        others = {"0", "1", "f", "%", "+", "", old * 2, old.swapcase()} - {old}
        for new in others:
            changed = query[:at] + new + query[at + 1 :]
            if parse_qsl(changed, keep_blank_values=True) == parse_qsl(query, keep_blank_values=True):
                continue  # another spelling of the same, as %2f for %2F
            assert blob_links.read(SECRET, link.method, link.key, changed, 0) is None, changed


@pytest.mark.parametrize("extra", ["x=1", "signature=00", "expires=9999999999", "type=text/html", "&", "=", "a=b=c&d"])
def test_nothing_may_be_added(extra: str) -> None:
    query = blob_links.query(SECRET, GET)
    assert blob_links.read(SECRET, "GET", KEY, f"{query}&{extra}", 0) is None
    assert blob_links.read(SECRET, "GET", KEY, f"{extra}&{query}", 0) is None


@pytest.mark.parametrize(
    "query", ["", "signature=", "expires=2000", "%ff=1", "x" * 10_000, "\u00fc=1", "signature=\u00fc"]
)
def test_strange_queries_are_nothing(query: str) -> None:
    for method in ("GET", "PUT", "HEAD", "POST", ""):
        assert blob_links.read(SECRET, method, KEY, query, 0) is None


def test_another_servers_secret_signs_nothing_here() -> None:
    query = blob_links.query(blob_links.secret_of(b"t" * 32), GET)
    assert blob_links.read(SECRET, "GET", KEY, query, 0) is None
    assert SECRET != b"s" * 32, "links are not signed with the secret that refresh tokens are made of"
