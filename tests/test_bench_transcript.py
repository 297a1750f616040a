"""The replay's judge: each way a transcript can be wrong is counted as that, and only a right one passes."""

from dataclasses import replace

import pytest
from hypothesis import given, strategies as st

from bench.transcript import (
    Accepted,
    Span,
    Verdict,
    compare_log,
    compare_messages,
    compare_transcript,
    spans,
    within,
)
from konnect_client import Entry


def entry(seq: int, **fields: object) -> Entry:
    values = {"kind": "message", "author": "ann", "key": f"k{seq}", "text": f"text {seq}"} | fields
    return Entry(conversation="c", seq=seq, at_ms=seq, **values)  # type: ignore[arg-type]


LOG = [
    entry(1, kind="created", members=("ann", "bob"), text=None),
    entry(2),
    entry(3, kind="member.added", user="cid", text=None),
    entry(4, author="cid"),
    entry(5, kind="member.removed", user="bob", text=None),
    entry(6),
    entry(7, kind="member.added", user="bob", text=None),
    entry(8),
]
ACCEPTED = [Accepted(one.author, one.key, one.text or "", one.seq) for one in LOG if one.kind == "message"]
SWAPPED = [LOG[0], LOG[2], LOG[1], *LOG[3:]]


def test_spans_are_read_from_the_log() -> None:
    assert spans(LOG) == {"ann": [Span(1, None)], "bob": [Span(1, 5), Span(7, None)], "cid": [Span(3, None)]}


def test_a_member_sees_what_lies_within_the_spans() -> None:
    assert [one.seq for one in within(LOG, [Span(1, 5), Span(7, None)])] == [1, 2, 3, 4, 5, 7, 8]
    assert within(LOG, []) == []


def test_a_transcript_that_equals_the_log_is_good() -> None:
    verdict = compare_transcript(LOG, LOG, "ann")
    assert verdict == Verdict(compared=8)
    assert verdict.good


@pytest.mark.parametrize(
    ("seen", "fault"),
    [
        (LOG[:3] + LOG[4:], "lost"),
        (LOG[:-1], "lost"),
        ([], "lost"),
        ([*LOG, LOG[2]], "doubled"),
        ([*LOG[:4], LOG[3], *LOG[4:]], "doubled"),
        (SWAPPED, "reordered"),
        ([*LOG, entry(9)], "foreign"),
        ([*LOG[:1], replace(LOG[1], text="another"), *LOG[2:]], "altered"),
    ],
)
def test_each_fault_of_a_transcript_is_counted(seen: list[Entry], fault: str) -> None:
    verdict = compare_transcript(seen, LOG, "ann")
    assert not verdict.good
    assert getattr(verdict, fault) > 0
    assert verdict.lost + verdict.doubled + verdict.reordered + verdict.foreign + verdict.altered == getattr(
        verdict, fault
    )
    assert "ann" in verdict.examples[0]


def test_a_log_with_every_acknowledged_message_once_and_in_order_is_good() -> None:
    assert compare_log(ACCEPTED, LOG, "log") == Verdict(compared=4)


@pytest.mark.parametrize(
    ("accepted", "log", "fault"),
    [
        (ACCEPTED, LOG[:-1], "lost"),
        (ACCEPTED, [*LOG[:1], *LOG[2:]], "lost"),
        (ACCEPTED, [*LOG, entry(9, key="k8")], "doubled"),
        ([ACCEPTED[1], ACCEPTED[0], *ACCEPTED[2:]], LOG, "reordered"),
        (ACCEPTED[:-1], LOG, "foreign"),
        ([*ACCEPTED[:-1], ACCEPTED[-1]._replace(text="another")], LOG, "altered"),
        ([*ACCEPTED[:-1], ACCEPTED[-1]._replace(seq=9)], LOG, "altered"),
    ],
)
def test_each_fault_of_a_log_is_counted(accepted: list[Accepted], log: list[Entry], fault: str) -> None:
    assert getattr(compare_log(accepted, log, "log"), fault) > 0


def test_verdicts_add_up_and_keep_ten_examples() -> None:
    total = Verdict()
    for _ in range(7):
        total.add(compare_transcript([*LOG[:-1], LOG[0]], LOG, "ann"))
    assert (total.compared, total.lost, total.doubled, len(total.examples)) == (56, 7, 7, 10)


@given(seen=st.permutations(LOG))
def test_only_the_order_of_the_log_passes(seen: list[Entry]) -> None:
    assert compare_transcript(seen, LOG, "ann").good == (seen == LOG)


# --- Messages that change ---------------------------------------------------------------------------------------------


CHANGED = [
    entry(1, kind="created", members=("ann", "bob"), text=None),
    entry(2, text="twice", changed=3),
    entry(3, kind="message.edited", of=2, text="twice"),
    entry(4, text=None, deleted=True, changed=6),
    entry(5, kind="message.edited", of=4, text=None, deleted=True),
    entry(6, kind="message.deleted", of=4, text=None),
]


def test_what_came_before_a_change_is_right() -> None:
    """The log tells of messages, and of edits, as they stand now."""
    live = [
        CHANGED[0], entry(2, text="once"), CHANGED[2], entry(4, text="secret"),
        entry(5, kind="message.edited", of=4, text="more secret"), CHANGED[5],
    ]  # fmt: skip
    assert compare_transcript(live, CHANGED, "bob").good
    assert compare_transcript(CHANGED, CHANGED, "cid").good


@pytest.mark.parametrize(
    "wrong",
    [
        entry(2, text="another", changed=3),
        entry(2, text="later than the log", changed=4),
        entry(2, text="once", author="bob"),
        entry(3, kind="message.edited", of=2, text="another"),
    ],
)
def test_what_no_change_explains_is_altered(wrong: Entry) -> None:
    seen = [wrong if one.seq == wrong.seq else one for one in CHANGED]
    assert compare_transcript(seen, CHANGED, "bob").altered == 1


def test_what_is_shown_at_the_end_must_stand_in_the_log() -> None:
    assert compare_messages([CHANGED[1], CHANGED[3]], CHANGED, "bob") == Verdict(compared=2)
    assert compare_messages([entry(2, text="once")], CHANGED, "bob").altered == 1
    assert compare_messages([entry(7)], CHANGED, "bob").altered == 1
