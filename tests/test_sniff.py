"""Types by content: what is taken for what, and what is taken for nothing."""

import pytest
from hypothesis import given, strategies as st

from konnect_server.actions import sniff
from storage.blobs import EXTENSIONS
from tests import samples

KNOWN = {
    "image/jpeg": samples.JPEG, "image/png": samples.png(), "image/gif": samples.GIF, "image/webp": samples.WEBP,
    "image/avif": samples.AVIF, "image/heic": samples.HEIC, "image/heif": samples.HEIF, "audio/ogg": samples.OGG,
    "audio/mp4": samples.M4A, "audio/webm": samples.WEBM, "audio/mpeg": samples.MP3, "audio/wav": samples.WAV,
    "audio/aac": samples.AAC, "video/mp4": samples.MP4, "video/webm": samples.WEBM,
}  # fmt: skip


@pytest.mark.parametrize("content_type", sorted(sniff.PHOTOS | sniff.VOICES | sniff.VIDEOS))
def test_every_type_is_known_by_a_file_of_it(content_type: str) -> None:
    """A type that may be announced can also be found, and has a file's ending."""
    assert content_type in sniff.types_of(KNOWN[content_type])
    assert content_type in EXTENSIONS


@pytest.mark.parametrize("content_type", KNOWN)
def test_a_file_is_of_one_family(content_type: str) -> None:
    """A picture is never sound, sound and film never a picture."""
    families = {found.split("/")[0] for found in sniff.types_of(KNOWN[content_type])}
    assert families == {"image"} or "image" not in families


@pytest.mark.parametrize("what", samples.DISGUISED)
def test_what_could_run_or_is_unknown_is_nothing(what: str) -> None:
    assert sniff.types_of(samples.DISGUISED[what]) == frozenset()


@given(text=st.text())
def test_no_text_is_a_picture(text: str) -> None:
    """However it begins, but for the six letters of GIF."""
    if not text.startswith(("GIF87a", "GIF89a")):
        assert not sniff.types_of(text.encode("utf-8", "replace")) & sniff.PHOTOS


@given(head=st.binary(max_size=80), start=st.sampled_from([b"", *KNOWN.values()]), cut=st.integers(0, 60))
def test_no_head_is_too_strange(head: bytes, start: bytes, cut: int) -> None:
    """Cut anywhere, with anything behind: an answer, never a crash."""
    assert sniff.types_of(start[:cut] + head) <= sniff.PHOTOS | sniff.VOICES | sniff.VIDEOS


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("image/jpeg", "image/jpeg"),
        ("IMAGE/JPG", "image/jpeg"),
        ("audio/webm;codecs=opus", "audio/webm"),
        ("audio/ogg ; codecs=opus", "audio/ogg"),
        ("audio/x-m4a", "audio/mp4"),
        ("audio/x-wav", "audio/wav"),
    ],
)
def test_a_type_has_one_name(given: str, meant: str) -> None:
    assert sniff.essence(given) == meant
