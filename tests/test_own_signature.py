"""A key knows its own signatures: exactly those that everybody else knows by the public key."""

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, strategies as st

from konnect_server.own_signature import OwnSignature

L = 2**252 + 27742317777372353535851937790883648493
KEYS = st.binary(min_size=32, max_size=32).map(Ed25519PrivateKey.from_private_bytes)

# RFC 8032, section 7.1: TEST 1, TEST 2 and TEST 3, as private key, message and signature.
VECTORS = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
]


@pytest.mark.parametrize(("private", "message", "signature"), VECTORS)
def test_the_rfcs_own_signatures_are_known(private: str, message: str, signature: str) -> None:
    own = OwnSignature(Ed25519PrivateKey.from_private_bytes(bytes.fromhex(private)))
    assert own.made(bytes.fromhex(signature), bytes.fromhex(message))


@given(key=KEYS, message=st.binary(max_size=500))
def test_what_the_library_signs_is_known(key: Ed25519PrivateKey, message: bytes) -> None:
    assert OwnSignature(key).made(key.sign(message), message)


@given(key=KEYS, message=st.binary(max_size=300), changes=st.lists(st.integers(0, 64 * 8 - 1), min_size=1, max_size=4))
def test_a_changed_signature_is_known_only_where_the_public_key_knows_it(
    key: Ed25519PrivateKey, message: bytes, changes: list[int]
) -> None:
    """In R as well as in S, though R is not computed again."""
    number = int.from_bytes(key.sign(message), "little")
    for bit in changes:
        number ^= 1 << bit
    changed = number.to_bytes(64, "little")
    try:
        key.public_key().verify(changed, message)
        known = True  # every bit was changed twice
    except InvalidSignature:
        known = False
    assert OwnSignature(key).made(changed, message) is known


@given(key=KEYS, message=st.binary(min_size=1, max_size=300), bit=st.integers(0))
def test_a_changed_message_is_not_known(key: Ed25519PrivateKey, message: bytes, bit: int) -> None:
    changed = bytearray(message)
    changed[bit // 8 % len(message)] ^= 1 << bit % 8
    assert not OwnSignature(key).made(key.sign(message), bytes(changed))


@given(key=KEYS, other=KEYS, message=st.binary(max_size=300))
def test_another_keys_signature_is_not_known(key: Ed25519PrivateKey, other: Ed25519PrivateKey, message: bytes) -> None:
    assert OwnSignature(key).made(other.sign(message), message) is (
        key.private_bytes_raw() == other.private_bytes_raw()
    )


@given(key=KEYS, message=st.binary(max_size=300), times=st.integers(1, 14))
def test_the_same_number_written_larger_is_not_known(key: Ed25519PrivateKey, message: bytes, times: int) -> None:
    """S and S + L are one number to who computes modulo L (RFC 8032, section 5.1.7, wants the smaller)."""
    signature = key.sign(message)
    larger = int.from_bytes(signature[32:], "little") + times * L
    assert not OwnSignature(key).made(signature[:32] + larger.to_bytes(32, "little"), message)


@given(key=KEYS, message=st.binary(max_size=100), signature=st.binary(max_size=200))
def test_any_bytes_are_judged(key: Ed25519PrivateKey, message: bytes, signature: bytes) -> None:
    assert not OwnSignature(key).made(signature, message)


@given(key=KEYS, message=st.binary(max_size=100), more=st.binary(min_size=1, max_size=10), cut=st.integers(1, 64))
def test_a_signature_has_its_length(key: Ed25519PrivateKey, message: bytes, more: bytes, cut: int) -> None:
    own, signature = OwnSignature(key), key.sign(message)
    assert not own.made(signature + more, message)
    assert not own.made(signature[:-cut], message)
