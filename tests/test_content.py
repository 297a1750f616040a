"""What a client may say a message is: each rule at its bound and beyond, and whatever is thrown at it."""

from typing import Any

import msgpack  # type: ignore[import-untyped]  # the package ships no types
import msgspec
import pytest
from hypothesis import given, strategies as st
from msgspec import UNSET, Struct, inspect

from konnect_client import Content as ClientContent
from protocol import codec, errors, frames, limits
from protocol.frames import Attachment, Contact, Content, Entity, Forwarded, Location
from tests.frame_strategies import ENCODABLE, struct_of
from tests.test_frames import bare, fields_of

ROOM = "01a1ee56-5e00-7000-8000-0000000000d1"
BOB = "01a1ee56-5e00-7000-8000-00000000000b"
MEDIUM = {"id": ROOM, "kind": "photo"}


def send(text: str | None = "hello", **content: Any) -> frames.MessageSend:
    """What the server makes of such a message."""
    said = {} if text is None else {"text": text}
    frame = {"t": "message.send", "id": 1, "conversation": ROOM, "key": "k", **said, "content": content}
    taken = codec.decode(msgpack.packb(frame))
    assert isinstance(taken, frames.MessageSend)
    return taken


def part(kind: str = "bold", offset: int = 0, length: int = 1, **more: Any) -> dict[str, Any]:
    return {"kind": kind, "offset": offset, "length": length, **more}


@pytest.mark.parametrize(
    "content",
    [
        {"entities": [part(offset=4, length=1), part("pre", 0, 5), part("bold", 0, 5), part("bold", 0, 5)]},
        {"entities": [part("link", url=url) for url in ("http://a", "HTTPS://ü.de/ä?b#c", "mailto:a@b", "tel:+1")]},
        {"entities": [part("link", url="https://" + "x" * (limits.URL_CHARS - 8))]},
        {"entities": [part("mention", user=BOB)] * limits.ENTITIES, "mention_all": "here"},
        {"location": {"lat": -90, "lon": 180.0}},
        {"location": {"lat": 0.5, "lon": 0, "label": "x" * limits.LABEL_CHARS, "accuracy_m": limits.ACCURACY_M}},
        {"contact": {"name": "Bob", "phone": "+43 (1) 23-45.6", "email": "böb@example.com", "user": BOB}},
        {"media": [{**MEDIUM, "width": 1, "height": limits.MEDIA_SIDE, "blurhash": "LEHV6nWB2yk8pyo0adR*.7kCMdnj"}]},
        {"media": [{**MEDIUM, "kind": "video", "width": 1, "duration_ms": 0, "blurhash": "000000"}]},
        {"media": [{**MEDIUM, "kind": "voice", "duration_ms": limits.DURATION_MS, "waveform": [0, 255] * 64}]},
        {"media": [{**MEDIUM, "kind": "file"}], "reply_to": 1},
        {"from_a_newer_client": 1},
        {},
    ],
    ids=str,
)
def test_what_may_be_said(content: dict[str, Any]) -> None:
    taken = send(**content).content
    assert taken is not None
    sent = {name: one for name, one in content.items() if name != "from_a_newer_client"}
    assert msgspec.to_builtins(taken) == sent
    assert ClientContent.parse(sent).frame() == sent, "the client reads it so, too"


@pytest.mark.parametrize(
    "content",
    [
        {"entities": [part(offset=5, length=1)]},
        {"entities": [part(offset=0, length=6)]},
        {"entities": [part(offset=-1)]},
        {"entities": [part(length=0)]},
        {"entities": [part(length=-1)]},
        {"entities": [part(offset=2**62, length=2**62)]},
        {"entities": [part("blink")]},
        {"entities": [part()] * (limits.ENTITIES + 1)},
        {"entities": [part("bold", url="https://a")]},
        {"entities": [part("link")]},
        {"entities": [part("link", url="https://a", user=BOB)]},
        {"entities": [part("mention")]},
        {"entities": [part("mention", user="bob")]},
        *({"entities": [part("link", url=url)]} for url in (
            "", "https:", "https://", "javascript:alert(1)", " https://a", "https://a b", "https://a\n", "https://a\0",
            "https://a\x85", "data:text/html,x", "file:///etc", "//a", "mailto:", "jhttps://a", "https://a\u00a0",
            "https://" + "x" * (limits.URL_CHARS - 7),
        )),
        {"mention_all": "everybody"},
        {"location": {"lat": 90.1, "lon": 0}},
        {"location": {"lat": 0, "lon": -180.1}},
        {"location": {"lat": float("nan"), "lon": 0}},
        {"location": {"lat": 0, "lon": float("inf")}},
        {"location": {"lat": 0}},
        {"location": {"lat": 0, "lon": 0, "label": ""}},
        {"location": {"lat": 0, "lon": 0, "label": "a\0"}},
        {"location": {"lat": 0, "lon": 0, "accuracy_m": -1}},
        {"contact": {"phone": "1"}},
        {"contact": {"name": ""}},
        {"contact": {"name": "x", "phone": "call me"}},
        {"contact": {"name": "x", "phone": "+1\n"}},
        {"contact": {"name": "x", "email": "nowhere"}},
        {"contact": {"name": "x", "email": "a@b\n"}},
        {"media": [MEDIUM, {**MEDIUM, "kind": "file"}]},
        {"media": [{**MEDIUM, "kind": "profile_photo"}]},
        {"media": [{**MEDIUM, "width": 0}]},
        {"media": [{**MEDIUM, "duration_ms": 1}]},
        {"media": [{**MEDIUM, "waveform": [1]}]},
        {"media": [{**MEDIUM, "blurhash": "<script>"}]},
        {"media": [{**MEDIUM, "kind": "file", "height": 1}]},
        {"media": [{**MEDIUM, "kind": "voice", "width": 1}]},
        {"media": [{**MEDIUM, "kind": "voice", "waveform": [256]}]},
        {"media": [{**MEDIUM, "kind": "voice", "waveform": [0] * (limits.WAVEFORM + 1)}]},
        {"media": [{"id": ROOM[:-2] + f"{n:02}", "kind": "file"} for n in range(limits.MEDIA + 1)]},
        {"reply_to": 0},
        {"forwarded": {"author": BOB}},
    ],
    ids=str,
)  # fmt: skip
def test_what_may_not(content: dict[str, Any]) -> None:
    with pytest.raises(errors.Invalid) as refused:
        send(**content)
    assert str(refused.value)


@pytest.mark.parametrize("content", [{}, {"mention_all": "all"}, {"reply_to": 1}, {"entities": []}], ids=str)
def test_without_a_text_it_has_to_say_something(content: dict[str, Any]) -> None:
    for text in (None, ""):
        with pytest.raises(errors.Invalid, match="text"):
            send(text, **content)
    for speaking in ({"media": [MEDIUM]}, {"location": {"lat": 1, "lon": 2}}, {"contact": {"name": "x"}}):
        assert send(None, **content, **speaking).text == ""


def test_ranges_are_in_code_points() -> None:
    assert send("𝄞é", entities=[part(offset=1, length=1)]).content is not None
    with pytest.raises(errors.Invalid, match=r"entities\[0\]"):
        send("𝄞é", entities=[part(offset=2, length=1)])
    frame = {"t": "message.edit", "id": 1, "conversation": ROOM, "key": "k", "seq": 2, "text": "𝄞é"}
    assert codec.decode(msgpack.packb({**frame, "entities": [part(length=2)]}))
    with pytest.raises(errors.Invalid, match=r"entities\[0\]"):
        codec.decode(msgpack.packb({**frame, "entities": [part(length=3)]}))


PARTS: list[type[Struct]] = [Content, Entity, Attachment, Location, Contact, Forwarded]


@pytest.mark.parametrize("cls", PARTS, ids=lambda cls: cls.__name__)
def test_every_text_number_and_list_of_it_is_bounded(cls: type[Struct]) -> None:
    for field in fields_of(cls):
        kinds = field.type.types if isinstance(field.type, inspect.UnionType) else (field.type,)
        for kind in map(bare, kinds):
            match kind:
                case inspect.StrType(max_length=most) | inspect.ListType(max_length=most):
                    assert most is not None, field.name
                case inspect.IntType(ge=least, le=most) | inspect.FloatType(ge=least, le=most):
                    assert None not in (least, most), field.name


WORDS = st.sampled_from(
    [*Content.__struct_fields__, *Entity.__struct_fields__, *Location.__struct_fields__, *Attachment.__struct_fields__]
)
WILD: st.SearchStrategy[Any] = st.recursive(
    ENCODABLE | st.sampled_from(["bold", "link", "photo", "here", ROOM, "https://a", 0, 1, -1, 2**63]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=20,
)


@given(text=st.text(max_size=5), content=st.dictionaries(WORDS, WILD, max_size=5))
def test_anything_is_taken_or_refused(text: str, content: dict[str, Any]) -> None:
    """With a clear error; and what is taken holds what was promised of it."""
    try:
        taken = send(text, **content)
    except (errors.Invalid, errors.BadFrame):
        return
    assert taken.content is not None
    for one in taken.content.entities:
        assert 0 <= one.offset < one.offset + one.length <= len(text)
        assert (one.url is not UNSET) == (one.kind == "link")
    assert taken.content.forwarded is UNSET
    assert taken.text or taken.content.media or taken.content.location or taken.content.contact


@given(struct_of(Content))
def test_content_is_the_same_in_json_and_messagepack_and_for_the_client(content: Content) -> None:
    assert msgspec.json.decode(msgspec.json.encode(content), type=Content) == content
    packed = msgspec.msgpack.encode(content)
    assert msgspec.msgpack.decode(packed, type=Content) == content
    assert msgspec.msgpack.encode(ClientContent.parse(msgpack.unpackb(packed)).frame(), order="sorted") == (
        msgspec.msgpack.encode(content, order="sorted")
    )
