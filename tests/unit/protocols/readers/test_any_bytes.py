"""Every reader protocol under random bytes, splits, faults and timing: it never raises and never believes noise."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.errors import CommandNotPossible, MalformedMessage
from protocols.readers import registry
from protocols.readers.protocol import (
    Abort,
    AskStatus,
    Connect,
    Finished,
    OnlineWanted,
    Outcome,
    ReaderEvent,
    RecallLast,
    Resume,
)
from tests.support.reader_cases import (
    APPROVES,
    NUMBERS,
    PURCHASE,
    Case,
    cases,
    encrypts,
    payments,
)
from tests.support.reader_wire import Wire

CASES = st.sampled_from(cases())
COMMANDS = st.sampled_from(
    [Connect(), AskStatus(), PURCHASE, RecallLast(), Abort(), Resume(APPROVES)]
)
#: Bytes that begin, end and confirm things in one protocol or another, so that noise goes deep.
TELLING = st.sampled_from(
    [
        *(bytes((byte,)) for byte in (0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x10, 0x15, 0xC0)),
        *(bytes.fromhex(one) for one in ("800000", "849c00", "040f", "060f00", "061e016c")),
        *(bytes.fromhex(one) for one in ("060379", "15036a", "1002", "1003", "aa0081")),
        *(b"ViVOtech2\x00", b"123456780E00", b"0100000123410978"),
    ]
)
NOISE = st.one_of(st.binary(max_size=80), TELLING)
QUICK = settings(max_examples=150, deadline=None)


@QUICK
@given(
    CASES,
    st.lists(
        st.one_of(
            NOISE.map(lambda received: ("hear", received)),
            COMMANDS.map(lambda command: ("start", command)),
            st.sampled_from([("wake", 0.0), ("wait", 0.3), ("wait", 7.0), ("plug", None)]),
        ),
        max_size=30,
    ),
)
def test_a_till_takes_anything_and_ends_each_command_once(
    case: Case, doings: list[tuple[str, object]]
) -> None:
    host = case.wire().host
    events: list[ReaderEvent] = list(host.connected(0))
    now, begun = 0.0, 0
    for doing, what in doings:
        match doing, what:
            case "hear", bytes(received):
                events += host.feed(received, now)
            case "wait", float(seconds):
                now += seconds
                events += host.expired(now)
            case "wake", _:
                now = max(now, host.deadline() or now)
                events += host.expired(now)
            case "plug", _:
                events += host.disconnected(now)
                events += host.connected(now)
            case _:
                begun += _begins(case, host, what, now)
        while host.outgoing():
            pass

    events += host.disconnected(now)

    finished = [event for event in events if isinstance(event, Finished)]
    assert len(finished) == begun
    assert [one for one in finished if one.outcome is Outcome.APPROVED] == []
    assert [number for number in NUMBERS if number in repr(events)] == []


def _begins(case: Case, host: object, command: object, now: float) -> bool:
    try:
        host.start(command, now)  # type: ignore[attr-defined]  # a machine and a command, as drawn
    except CommandNotPossible:
        return False
    return not isinstance(command, Abort | Resume)


@QUICK
@given(CASES, st.lists(st.tuples(NOISE, st.floats(0, 30)), max_size=20))
def test_a_terminal_takes_anything_and_takes_no_payment_from_noise(
    case: Case, heard: list[tuple[bytes, float]]
) -> None:
    wire = case.wire()
    terminal, now = wire.terminal, 0.0
    terminal.connected(now)
    for received, seconds in heard:
        terminal.feed(received, now)
        now += seconds
        terminal.expired(now)
        while terminal.outgoing():
            pass
        terminal.wants_disconnect()
    terminal.disconnected(now)

    assert payments(wire) == []


@settings(max_examples=200, deadline=None)
@given(CASES, st.data())
def test_whatever_goes_wrong_a_payment_ends_once_and_as_the_books_say(
    case: Case, data: st.DataObject
) -> None:
    repertoire = case.repertoire
    faults = data.draw(
        st.lists(st.sampled_from(sorted(repertoire.faults)), max_size=3, unique=True)
    )
    story = data.draw(st.sampled_from(sorted(repertoire.scripts)))
    chance = random.Random(data.draw(st.integers(0, 1000)))
    wire = case.wire(
        script=story,
        faults=tuple(
            f"{fault}:{data.draw(st.sampled_from(['1', '2', '0.3']))}" for fault in faults
        ),
        roll=chance.random,
        issuer=data.draw(st.sampled_from([APPROVES, None])),
        piece=data.draw(st.sampled_from([None, 1, 3, 16])),
    )
    wire.connect()
    wire.do(Connect())
    if not wire.is_connected:
        wire.connect()
    if not wire.host.is_idle() or not _begins(case, wire.host, PURCHASE, wire.now):
        return
    pull_after = data.draw(st.one_of(st.none(), st.integers(0, 40)))
    noise_after = data.draw(st.one_of(st.none(), st.integers(0, 40)))
    noise = data.draw(NOISE)

    for at in range(400):
        if _ends(wire):
            break
        if at == pull_after and wire.is_connected:
            wire.disconnect()
            break
        if at == noise_after:
            wire.keep(wire.host.feed(noise, wire.now))
        if not wire.step() and not _ends(wire):
            wire.wait()
    if not wire.is_connected:
        wire.connect()
    wire.pass_time(900)

    (ended,) = _ends(wire)
    done = [state for state, _ in payments(wire) if state == "done"]
    asked = [event for event in wire.events if isinstance(event, OnlineWanted)]
    assert len(done) <= 1
    assert len(asked) <= 1
    if encrypts(case.protocol):
        # A chip may approve without its issuer; the control plane takes that for a contradiction.
        assert ended is not Outcome.APPROVED or wire.resumed == 1 or story == "offline_approve"
    elif done:
        assert ended in {Outcome.APPROVED, Outcome.LOST}
    else:
        assert ended is not Outcome.APPROVED
    assert [number for number in NUMBERS if number in repr(wire.events)] == []


@QUICK
@given(CASES, NOISE)
def test_any_bytes_are_described_or_refused(case: Case, recorded: bytes) -> None:
    try:
        described = registry.describe(case.protocol, recorded, framing=case.framing)
    except MalformedMessage:
        return
    except CommandNotPossible:
        # A framing that it only describes piece by piece.
        return
    assert described != {}


def _ends(wire: Wire) -> list[Outcome]:
    return [one.outcome for one in wire.finished if one.command is PURCHASE]
