"""The outbox: what waits for one socket leaves in order and whole, and is bounded in bytes."""

from hypothesis import given
from hypothesis.strategies import binary, integers, lists, one_of, tuples

from konnect_server.outbox import Outbox


class Owner:
    """Who owns an outbox, and counts what it is told."""

    def __init__(self, bound_bytes: int = 1_000_000) -> None:
        self.dirty: list[Owner] = []
        self.overflows = 0
        self.box = Outbox(self, self.dirty.append, bound_bytes)

    def overflowed(self) -> None:
        self.overflows += 1


def drain(box: Outbox, at_most: int) -> bytes:
    """Send all that waits, *at_most* bytes at once, as the pump does."""
    out = b""
    while box.size_bytes:
        piece = bytes(box.take()[:at_most])
        assert piece
        out += piece
        box.sent(len(piece))
    return out


@given(lists(one_of(binary(max_size=40), integers(0, 60))), integers(1, 50))
def test_what_is_pushed_leaves_in_order_and_whole(steps: list[bytes | int], at_most: int) -> None:
    """Whatever the kernel takes at once, and whatever is pushed between two sends."""
    owner = Owner()
    box, pushed, left = owner.box, b"", b""
    for step in steps:
        if isinstance(step, bytes):
            box.push(step)
            pushed += step
        elif box.size_bytes:
            piece = bytes(box.take()[:step])
            box.sent(len(piece))
            left += piece
        assert box.size_bytes == len(pushed) - len(left)
    assert left + drain(box, at_most) == pushed
    assert box.take() == b""


@given(lists(tuples(integers(1, 300_000), integers(1, 400_000)), max_size=12))
def test_long_frames_leave_in_order_too(steps: list[tuple[int, int]]) -> None:
    """Frames around and above what is gathered for one send."""
    owner = Owner(bound_bytes=1 << 40)
    pushed, left = b"", b""
    for number, (size, taken) in enumerate(steps):
        data = bytes((number,)) * size
        owner.box.push(data)
        pushed += data
        piece = bytes(owner.box.take()[:taken])
        owner.box.sent(len(piece))
        left += piece
    assert left + drain(owner.box, 100_000) == pushed


def test_a_frame_that_waits_alone_is_given_as_it_is() -> None:
    """No copy where none is needed: the same bytes object serves every socket."""
    owner, data = Owner(), b"x" * 1000
    owner.box.push(data)
    assert owner.box.take() is data


def test_the_rest_of_a_long_frame_is_a_view_of_it() -> None:
    """16 MiB to a slow reader must not be copied each time the kernel takes some of it."""
    owner = Owner(bound_bytes=1 << 30)
    data = b"x" * (1 << 24)
    owner.box.push(data)
    owner.box.sent(1000)
    rest = owner.box.take()
    assert isinstance(rest, memoryview)
    assert rest.obj is data
    assert len(rest) == (1 << 24) - 1000


def test_many_short_frames_leave_together_within_bounds() -> None:
    """One send for all of a turn's frames, but no join of a whole megabyte for a kernel that takes a fraction of it."""
    owner = Owner()
    for _ in range(3000):
        owner.box.push(b"x" * 300)
    first = owner.box.take()
    assert 200_000 < len(first) <= 262_144
    owner.box.sent(len(first) - 1)
    assert 200_000 < len(owner.box.take()) <= 262_144


def test_only_the_first_frame_marks_the_owner_dirty() -> None:
    """It is in the pump's list then, or the kernel's word is waited for: both come around by themselves."""
    owner = Owner()
    owner.box.push(b"one")
    owner.box.push(b"two")
    assert owner.dirty == [owner]
    owner.box.sent(1)
    owner.box.push(b"three")
    assert owner.dirty == [owner]
    drain(owner.box, 100)
    owner.box.push(b"four")
    assert owner.dirty == [owner, owner]


def test_an_empty_push_blocks_nothing() -> None:
    """An empty chunk leaves nothing to send; after the flush the next push marks again."""
    owner = Owner()
    owner.box.push(b"")
    assert owner.box.size_bytes == 0
    owner.box.clear()
    owner.box.push(b"x")
    assert owner.dirty[-1] is owner
    assert len(owner.dirty) == 2


def test_above_its_bound_it_tells_the_owner_and_takes_nothing() -> None:
    """The owner marks itself to be closed as slow; memory does not grow meanwhile."""
    owner = Owner(bound_bytes=10)
    owner.box.push(b"123456")
    owner.box.push(b"12345")
    assert owner.overflows == 1
    assert owner.box.size_bytes == 6
    owner.box.push(b"1234")
    assert owner.box.size_bytes == 10


def test_typing_and_presence_are_dropped_above_half_of_the_bound() -> None:
    """Without a word, before anything durable is in danger."""
    owner = Owner(bound_bytes=100)
    owner.box.push(b"x" * 50)
    owner.box.push_droppable(b"typing")
    assert owner.box.size_bytes == 56
    owner.box.push_droppable(b"typing")
    assert owner.box.size_bytes == 56
    owner.box.push(b"entry")
    assert owner.box.size_bytes == 61
    assert owner.overflows == 0


def test_a_sealed_outbox_takes_the_close_frame_alone() -> None:
    """After the mark nothing is pushed any more, what waited still leaves, and nobody is told of overflows."""
    owner = Owner(bound_bytes=10)
    owner.box.push(b"before,")
    owner.box.seal()
    owner.box.push(b"after")
    owner.box.push_droppable(b"typing")
    owner.box.push(b"x" * 100)
    owner.box.append_last(b"close")
    assert drain(owner.box, 3) == b"before,close"
    assert owner.overflows == 0
    owner.box.append_last(b"!")
    assert len(owner.dirty) == 2


def test_discard_keeps_the_rest_of_a_frame_that_left_in_part() -> None:
    """Without it the close frame could not be told from the middle of that frame."""
    owner = Owner()
    for data in (b"first", b"second", b"third"):
        owner.box.push(data)
    owner.box.sent(7)
    owner.box.discard()
    owner.box.append_last(b"|close")
    assert drain(owner.box, 100) == b"cond|close"


def test_discard_between_two_frames_keeps_nothing() -> None:
    owner = Owner()
    owner.box.push(b"first")
    owner.box.push(b"second")
    owner.box.sent(5)
    owner.box.discard()
    assert owner.box.size_bytes == 0
    assert owner.box.take() == b""
