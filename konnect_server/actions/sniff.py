"""What a file is by its content: the magic numbers of the types that may be shown, and of nothing else.

A type that is not in the table is never guessed: HTML, SVG or XML under a photo's name match nothing here. Containers
do not tell sound from pictures, so one head may be of two types.

Sources: WHATWG MIME Sniffing Standard, section 6 (images, audio and video); ISO/IEC 14496-12, section 4.3 (``ftyp``)
with the brands of mp4ra.org; RFC 9559 (EBML, Matroska) and the WebM container guidelines; RFC 3533 (Ogg);
ISO/IEC 11172-3 and 13818-7 (MPEG audio and ADTS headers).
"""

from typing import Final

SNIFF_BYTES: Final = 4_096  # of a file's beginning

PHOTOS: Final = frozenset({
    "image/jpeg", "image/png", "image/webp", "image/gif", "image/avif", "image/heic", "image/heif",
})  # fmt: skip
VOICES: Final = frozenset({"audio/ogg", "audio/mp4", "audio/webm", "audio/mpeg", "audio/wav", "audio/aac"})
VIDEOS: Final = frozenset({"video/mp4", "video/webm"})
OPAQUE: Final = "application/octet-stream"  # what files are stored and served as, whatever they were announced as
_ALIASES: Final = {
    "image/jpg": "image/jpeg", "image/pjpeg": "image/jpeg", "audio/mp3": "audio/mpeg", "audio/x-wav": "audio/wav",
    "audio/wave": "audio/wav", "audio/vnd.wave": "audio/wav", "audio/m4a": "audio/mp4", "audio/x-m4a": "audio/mp4",
    "audio/x-aac": "audio/aac", "audio/aacp": "audio/aac",
}  # fmt: skip

_MP4: Final = frozenset({
    b"isom", b"iso2", b"iso3", b"iso4", b"iso5", b"iso6", b"iso7", b"iso8", b"iso9", b"mp41", b"mp42", b"avc1", b"dash",
    b"M4A ", b"M4V ", b"MSNV", b"mmp4",
})  # fmt: skip
_HEIC: Final = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"})
_AVIF: Final = frozenset({b"avif", b"avis"})
_HEIF: Final = frozenset({b"mif1", b"msf1"})
_NOTHING: Final[frozenset[str]] = frozenset()


def essence(content_type: str) -> str:
    """*content_type* in lower case, without parameters, under its registered name."""
    bare = content_type.split(";")[0].strip().lower()
    return _ALIASES.get(bare, bare)


def types_of(head: bytes) -> frozenset[str]:
    """What a file that begins with *head*, :data:`SNIFF_BYTES` of it or all, may be; empty when it is none of ours."""
    for magic, found in _BEGINNINGS:
        if head.startswith(magic):
            return found
    match head[:4], head[4:8], head[8:12]:
        case b"RIFF", _, b"WEBP" if head[12:15] == b"VP8":
            return frozenset({"image/webp"})
        case b"RIFF", _, b"WAVE":
            return frozenset({"audio/wav"})
        case _, b"ftyp", _:
            return _by_brands(head)
        case b"\x1a\x45\xdf\xa3", _, _:
            return frozenset({"audio/webm", "video/webm"}) if _is_webm(head) else _NOTHING
    return _mpeg_audio(head)


_BEGINNINGS: Final = (
    (b"\xff\xd8\xff", frozenset({"image/jpeg"})),
    (b"\x89PNG\r\n\x1a\n", frozenset({"image/png"})),
    (b"GIF87a", frozenset({"image/gif"})),
    (b"GIF89a", frozenset({"image/gif"})),
    (b"OggS\x00", frozenset({"audio/ogg"})),
    (b"ID3", frozenset({"audio/mpeg", "audio/aac"})),  # a tag before either
)


def _by_brands(head: bytes) -> frozenset[str]:
    """The box ``ftyp``: its size, the major brand, a version, and compatible brands."""
    size = int.from_bytes(head[:4], "big")
    if size < 16 or size % 4:
        return _NOTHING
    box = head[8:size]
    brands = {box[:4], *(box[at : at + 4] for at in range(8, len(box), 4))}
    if brands & _AVIF:
        return frozenset({"image/avif"})
    if brands & _HEIC:
        return frozenset({"image/heic", "image/heif"})
    if brands & _HEIF:
        return frozenset({"image/heif"})
    return frozenset({"audio/mp4", "video/mp4"}) if brands & _MP4 else _NOTHING


def _is_webm(head: bytes) -> bool:
    """An EBML header whose DocType (0x4282) is ``webm``."""
    at = head.find(b"\x42\x82", 4, 64)
    return at >= 0 and head[at + 2 : at + 7] == b"\x84webm"


def _mpeg_audio(head: bytes) -> frozenset[str]:
    """A frame of MPEG audio layer III or II, or of AAC in ADTS: eleven or twelve ones, then no reserved values."""
    if len(head) < 4 or head[0] != 0xFF:
        return _NOTHING
    second, third = head[1], head[2]
    if second & 0xF6 == 0xF0 and third >> 2 & 0xF < 13:
        return frozenset({"audio/aac"})
    is_frame = second & 0xE0 == 0xE0 and second >> 3 & 3 != 1 and second >> 1 & 3 in (1, 2)
    return frozenset({"audio/mpeg"}) if is_frame and third >> 4 != 15 and third >> 2 & 3 != 3 else _NOTHING
