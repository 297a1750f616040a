"""Whose request it is: what a client writes about itself counts only if a trusted proxy passed it on."""

import pytest
from hypothesis import given, strategies as st

from konnect_server.http.client_address import ClientAddress

PROXIES = ("10.0.0.0/8", "192.168.1.1", "2001:db8:ffff::/48")


@pytest.mark.parametrize(
    ("peer", "forwarded", "key"),
    [
        ("203.0.113.9", [], "203.0.113.9"),
        ("203.0.113.9", ["198.51.100.1"], "203.0.113.9"),  # not a proxy of ours: what it says is worth nothing
        ("10.1.2.3", [], "10.1.2.3"),
        ("10.1.2.3", ["198.51.100.1"], "198.51.100.1"),
        ("10.1.2.3", ["1.1.1.1, 198.51.100.1"], "198.51.100.1"),  # the left one was written by the client
        ("10.1.2.3", ["1.1.1.1", "198.51.100.1"], "198.51.100.1"),  # two headers are one list
        ("10.1.2.3", ["198.51.100.1, 192.168.1.1, 10.9.9.9"], "198.51.100.1"),  # through three of ours
        ("10.1.2.3", ["10.4.4.4, 10.5.5.5"], "10.4.4.4"),  # nobody but proxies: the farthest
        ("10.1.2.3", ["junk"], "10.1.2.3"),
        ("10.1.2.3", ["198.51.100.1, junk"], "10.1.2.3"),
        ("10.1.2.3", [""], "10.1.2.3"),
        ("10.1.2.3", ["198.51.100.1:4711"], "198.51.100.1"),
        ("10.1.2.3", ['"[2001:db8::1]:4711"'], "2001:db8::/64"),
        ("10.1.2.3", [" 198.51.100.1 "], "198.51.100.1"),
        ("2001:db8:ffff::1", ["198.51.100.1"], "198.51.100.1"),
        ("2001:db8:1:2:3:4:5:6", [], "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::", [], "2001:db8:1:2::/64"),  # the same household
        ("fe80::1%eth0", [], "fe80::/64"),
        ("::ffff:203.0.113.9", [], "203.0.113.9"),  # an IPv4 client on a socket for both
        ("::ffff:10.1.2.3", ["198.51.100.1"], "198.51.100.1"),
        ("", [], ""),
        ("/run/konnect.sock", ["198.51.100.1"], "/run/konnect.sock"),
    ],
)
def test_the_address_that_limits_are_counted_under(peer: str, forwarded: list[str], key: str) -> None:
    assert ClientAddress(PROXIES).key(peer, forwarded) == key


@given(st.lists(st.text(), max_size=4))
def test_no_client_can_choose_its_own_key(forwarded: list[str]) -> None:
    assert ClientAddress(PROXIES).key("203.0.113.9", forwarded) == "203.0.113.9"


@given(st.lists(st.text(), max_size=4))
def test_a_proxy_may_pass_on_anything(forwarded: list[str]) -> None:
    assert ClientAddress(PROXIES).key("10.0.0.1", forwarded)


@pytest.mark.parametrize("wrong", ["proxy.example.com", "10.0.0.0/33", ""])
def test_what_is_no_network_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match="does not appear to be"):
        ClientAddress([wrong])
