"""What every reader protocol keeps, on every line it has; the registry finds them, so a new one is tested by itself."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest

from protocols.errors import CommandNotPossible, MalformedMessage
from protocols.money import Money
from protocols.readers import registry
from protocols.readers.protocol import (
    Abort,
    AskStatus,
    Book,
    CancelPreauthorization,
    Connect,
    Diagnose,
    Disconnect,
    EndOfDay,
    Finished,
    Initialize,
    OnlineWanted,
    Outcome,
    Preauthorize,
    Purchase,
    ReaderCommand,
    ReaderEvent,
    ReadTotals,
    RecallLast,
    Refund,
    Restart,
    Resume,
    Reverse,
    ShowText,
)
from tests.support import protocol_coverage
from tests.support.reader_cases import (
    AMOUNT,
    APPROVES,
    DECLINES,
    NUMBERS,
    PURCHASE,
    Case,
    cases,
    encrypts,
    payments,
)
from tests.support.reader_wire import Wire

COMMANDS: tuple[ReaderCommand, ...] = (
    Connect(),
    AskStatus(),
    PURCHASE,
    Refund(AMOUNT),
    Reverse(1),
    Preauthorize(AMOUNT),
    Book(1, AMOUNT),
    CancelPreauthorization(1),
    RecallLast(),
    ReadTotals(),
    EndOfDay(),
    Diagnose(),
    Initialize(),
    ShowText(("ciao",)),
    Disconnect(),
    Restart(),
)
NOTHING_MOVED = {Outcome.DECLINED, Outcome.CANCELLED, Outcome.FAILED, Outcome.BUSY}
SOME_DAYS_S = 300.0
#: Longer than any command of any protocol may take without a word of the reader.
LONGEST_S = 1800.0

CASES = cases()
SEALING = [case for case in CASES if encrypts(case.protocol)]
AUTHORIZING = [case for case in CASES if not encrypts(case.protocol)]
STORIES = [
    pytest.param(case, story, id=f"{case}-{story}")
    for case in CASES
    for story in case.repertoire.scripts
]
FAULTS = [
    pytest.param(case, fault, id=f"{case}-{fault}")
    for case in CASES
    for fault in case.repertoire.faults
]


@pytest.fixture(params=CASES, ids=str)
def case(request: pytest.FixtureRequest) -> Case:
    found: Case = request.param
    return found


@pytest.fixture(params=SEALING, ids=str)
def sealing(request: pytest.FixtureRequest) -> Case:
    found: Case = request.param
    return found


def _ends(wire: Wire, command: ReaderCommand = PURCHASE) -> list[Outcome]:
    return [one.outcome for one in wire.finished if one.command is command]


def _try_to_pay(case: Case, fault: str, piece: int | None) -> tuple[Wire, Outcome]:
    """A payment at a reader that may not even let itself be opened."""
    wire = case.wire(faults=(fault,), piece=piece)
    wire.connect()
    wire.do(Connect())
    if not wire.is_connected:
        wire.open()
    try:
        wire.host.start(PURCHASE, wire.now)
    except CommandNotPossible:
        return wire, Outcome.UNSUPPORTED
    wire.run(lambda: bool(_ends(wire)))
    wire.pass_time(5)
    if not wire.is_connected:
        wire.connect()
    wire.pass_time(SOME_DAYS_S)
    (ended,) = _ends(wire)
    return wire, ended


def _seen_numbers(wire: Wire) -> list[str]:
    told = repr(wire.events)
    return [number for number in NUMBERS if number in told]


def test_there_are_five_protocols_and_each_has_a_line() -> None:
    assert {case.protocol for case in CASES} == set(registry.names())
    assert {"zvt", "ecr17", "concert", "magtek_mms", "idtech_neo"} <= set(registry.names())
    assert {case.protocol for case in SEALING} >= {"magtek_mms", "idtech_neo"}


def test_the_table_for_people_is_what_the_readers_can_do() -> None:
    written = protocol_coverage.DOCUMENT.read_text()

    assert written == protocol_coverage.document(), "run: python -m tests.support.protocol_coverage"


# --- the rule ---


def test_it_connects_and_tells_how_it_is(case: Case) -> None:
    wire = case.wire()
    wire.connect()

    connected = wire.do(Connect())
    asked = wire.do(AskStatus())

    assert (connected.outcome, asked.outcome) == (Outcome.DONE, Outcome.DONE)
    assert [one.command for one in wire.finished] == [Connect(), AskStatus()]
    assert wire.host.is_idle()


def test_an_approved_payment_ends_once(case: Case) -> None:
    wire = case.opened()

    finished = wire.do(PURCHASE)
    wire.pass_time(SOME_DAYS_S)

    assert finished.outcome is Outcome.APPROVED
    assert _ends(wire) == [Outcome.APPROVED]
    assert wire.resumed == encrypts(case.protocol)
    assert wire.progress != []
    assert _seen_numbers(wire) == []


def test_a_declined_payment_moves_nothing(case: Case) -> None:
    digits, _ = case.repertoire.digits.get(5, ("", ""))
    script = {} if encrypts(case.protocol) else {"script": digits}
    wire = case.opened(issuer=DECLINES, **script)

    finished = wire.do(PURCHASE)

    assert finished.outcome is Outcome.DECLINED
    assert [state for state, _ in payments(wire) if state == "done"] == []


def test_the_red_key_moves_nothing_and_asks_no_issuer(case: Case) -> None:
    story, _ = case.repertoire.digits[8]
    wire = case.opened(script=story)

    finished = wire.do(PURCHASE)

    assert finished.outcome in {Outcome.CANCELLED, Outcome.DECLINED}
    assert wire.resumed == 0
    assert [state for state, _ in payments(wire) if state == "done"] == []


def test_stopping_works_or_says_why_not(case: Case) -> None:
    patient = "manual" if "manual" in case.repertoire.scripts else "no_card"
    wire = case.opened(script=patient)
    wire.host.start(PURCHASE, wire.now)
    wire.pass_time(0.2)
    sent = len(wire.sent_by_host)

    try:
        wire.host.start(Abort(), wire.now)
    except CommandNotPossible:
        assert wire.host.outgoing() == b""
        return
    wire.run(wire.host.is_idle)

    assert _ends(wire) == [Outcome.CANCELLED]
    assert len(wire.sent_by_host) > sent
    assert payments(wire) == [] or [state for state, _ in payments(wire)] == ["failed"]


@pytest.mark.parametrize(("case", "story"), STORIES)
def test_every_story_ends_once_and_shows_no_card(case: Case, story: str) -> None:
    wire = case.opened(script=story)
    wire.host.start(PURCHASE, wire.now)
    if story == "manual":
        wire.pass_time(1)
        tap = next(one for one in ("tap", "insert") if one in case.repertoire.controls)
        wire.terminal.control(tap, wire.now)  # type: ignore[attr-defined]  # every simulated one has it

    wire.run(lambda: bool(_ends(wire)))
    wire.pass_time(SOME_DAYS_S)

    assert len(_ends(wire)) == 1
    assert _seen_numbers(wire) == []
    assert _ends(wire)[0] is not Outcome.APPROVED or payments(wire)[:1] in (
        [],
        [("done", AMOUNT.minor)],
    )


# --- any command ---


@pytest.mark.parametrize("command", COMMANDS, ids=lambda one: type(one).__name__)
def test_a_command_ends_once_or_is_refused_without_a_byte(
    case: Case, command: ReaderCommand
) -> None:
    wire = case.opened()
    wire.quiet()
    known = len(wire.finished)

    try:
        wire.host.start(command, wire.now)
    except CommandNotPossible:
        assert wire.host.outgoing() == b""
        assert wire.host.is_idle()
        return
    wire.run(lambda: len(wire.finished) > known)
    if not wire.is_connected:
        wire.connect()
    wire.pass_time(SOME_DAYS_S)

    assert [one.command for one in wire.finished[known:]] == [command]


def test_a_second_command_is_refused_while_one_runs(case: Case) -> None:
    wire = case.opened()
    wire.host.start(PURCHASE, wire.now)
    wire.host.outgoing()

    with pytest.raises(CommandNotPossible):
        wire.host.start(AskStatus(), wire.now)
    with pytest.raises(CommandNotPossible):
        wire.host.start(PURCHASE, wire.now)

    assert not wire.host.is_idle()


@pytest.mark.parametrize("command", [Connect(), PURCHASE, Abort(), Resume(APPROVES)])
def test_nothing_is_begun_without_a_connection(case: Case, command: ReaderCommand) -> None:
    wire = case.wire()

    with pytest.raises(CommandNotPossible):
        wire.host.start(command, wire.now)

    assert wire.host.outgoing() == b""
    assert not wire.host.is_idle()


@pytest.mark.parametrize("command", [Abort(), Resume(APPROVES)])
def test_there_is_nothing_to_stop_or_answer_while_idle(case: Case, command: ReaderCommand) -> None:
    wire = case.opened()
    wire.quiet()

    with pytest.raises(CommandNotPossible):
        wire.host.start(command, wire.now)

    assert wire.host.outgoing() == b""


@pytest.mark.parametrize("minor", [0, -5])
def test_an_amount_of_nothing_is_refused(case: Case, minor: int) -> None:
    wire = case.opened()
    wire.quiet()

    with pytest.raises(CommandNotPossible):
        wire.host.start(Purchase(Money(minor, "EUR")), wire.now)

    assert wire.host.outgoing() == b""
    assert wire.host.is_idle()


# --- what goes wrong ---


@pytest.mark.parametrize("steps", [*range(12), *range(12, 40, 3)])
def test_a_cable_pulled_at_any_moment_claims_nothing(case: Case, steps: int) -> None:
    wire = case.opened()
    wire.host.start(PURCHASE, wire.now)
    left = iter(range(steps))
    wire.run(lambda: next(left, None) is None or bool(_ends(wire)))

    wire.disconnect()
    wire.connect()
    wire.pass_time(SOME_DAYS_S)

    taken = payments(wire) == [("done", AMOUNT.minor)]
    (ended,) = _ends(wire)
    if encrypts(case.protocol):
        assert ended is not Outcome.APPROVED or wire.resumed == 1
    elif taken:
        assert ended in {Outcome.APPROVED, Outcome.LOST}
    else:
        assert ended in NOTHING_MOVED | {Outcome.LOST}
    assert len(payments(wire)) <= 1


def test_a_line_that_breaks_before_a_byte_left_is_a_failure(case: Case) -> None:
    wire = case.opened()
    wire.quiet()
    wire.host.start(PURCHASE, wire.now)

    wire.disconnect()

    assert _ends(wire) == [Outcome.FAILED]


@pytest.mark.parametrize(("case", "fault"), FAULTS)
def test_with_any_fault_a_payment_ends_once_and_happens_once_at_most(
    case: Case, fault: str
) -> None:
    wire, ended = _try_to_pay(case, fault, 11)

    done = [state for state, _ in payments(wire) if state == "done"]
    asked = [event for event in wire.events if isinstance(event, OnlineWanted)]
    assert len(done) <= 1
    assert len(asked) <= 1
    assert ended is not Outcome.APPROVED or done != [] or wire.resumed == 1
    assert encrypts(case.protocol) or ended in {Outcome.APPROVED, Outcome.LOST} or done == []
    assert _seen_numbers(wire) == []


@pytest.mark.parametrize(("case", "fault"), FAULTS)
def test_after_any_fault_the_reader_works_again(case: Case, fault: str) -> None:
    wire, _ = _try_to_pay(case, fault, None)
    if wire.is_connected:
        wire.disconnect()
    wire.connect()

    ends = [wire.do(Connect()).outcome for _ in range(2)]

    # A reader may have found that somebody must look at it; then it says so.
    assert ends[-1] in {Outcome.DONE, Outcome.FAILED}


def test_a_mute_reader_is_given_up_in_time_and_by_deadlines_alone(case: Case) -> None:
    wire = case.opened()
    wire.quiet()
    host, now = wire.host, wire.now
    host.start(PURCHASE, now)
    events: list[ReaderEvent] = []
    began = now

    for _ in range(300):
        while host.outgoing():
            pass
        deadline = host.deadline()
        if any(isinstance(event, Finished) for event in events):
            break
        assert deadline is not None
        early = host.expired(min(now, deadline - 0.01))
        assert [event for event in early if isinstance(event, Finished)] == []
        now = max(now, deadline)
        events += host.expired(now)

    (ended,) = [event for event in events if isinstance(event, Finished)]
    assert ended.outcome in {Outcome.LOST, Outcome.FAILED, Outcome.BUSY}
    assert now - began < LONGEST_S
    assert host.is_idle() or host.wants_reconnect()


def test_half_a_message_of_the_old_line_is_forgotten(case: Case) -> None:
    wire = case.opened()
    wire.host.start(AskStatus(), wire.now)
    while sent := wire.host.outgoing():
        wire.terminal.feed(sent, wire.now)
    answer = wire.terminal.outgoing()
    wire.keep(wire.host.feed(answer[: len(answer) // 2], wire.now))
    wire.disconnect()

    wire.pass_time(30)
    finished = wire.open()

    assert finished.outcome is Outcome.DONE
    assert len(_ends(wire, AskStatus())) <= 1


def test_a_new_connection_ends_what_ran_on_the_old_one(case: Case) -> None:
    wire = case.opened()
    wire.host.start(PURCHASE, wire.now)
    wire.host.outgoing()

    events = wire.host.connected(wire.now)

    ended = [event.outcome for event in events if isinstance(event, Finished)]
    assert len(ended) == 1
    assert ended[0] in {Outcome.LOST, Outcome.FAILED}
    assert wire.host.is_idle()
    assert wire.host.outgoing() == b""


def test_a_second_pulling_of_the_cable_tells_nothing(case: Case) -> None:
    wire = case.opened()
    wire.host.start(PURCHASE, wire.now)

    first = wire.host.disconnected(wire.now)
    second = wire.host.disconnected(wire.now)

    assert [type(event) for event in first if isinstance(event, Finished)] == [Finished]
    assert list(second) == []


def test_three_payments_in_a_row_are_three(case: Case) -> None:
    wire = case.opened()

    ends = []
    for minor in (100, 200, 300):
        ends.append(wire.do(Purchase(Money(minor, "EUR"))).outcome)
        wire.pass_time(30)
        if not wire.is_connected:
            wire.open()

    assert ends == [Outcome.APPROVED] * 3
    assert encrypts(case.protocol) or payments(wire) == [
        ("done", 100),
        ("done", 200),
        ("done", 300),
    ]


# --- readers that seal ---


def test_a_card_is_sealed_and_its_issuer_is_asked_once(sealing: Case) -> None:
    wire = sealing.opened()

    wire.do(PURCHASE)

    (wanted,) = [event for event in wire.events if isinstance(event, OnlineWanted)]
    assert wanted.answer_within_s > 0
    assert wanted.tap.format == sealing.protocol
    assert wanted.tap.scheme in {"dukpt-tdes", "dukpt-aes"}
    assert len(wanted.tap.ksn) in {10, 12}
    assert [
        number for number in NUMBERS if bytes.fromhex(number.ljust(20, "f")) in wanted.tap.data
    ] == []
    assert [number for number in NUMBERS if number.encode() in wanted.tap.data] == []


def test_an_issuer_that_does_not_answer_in_time_is_a_no(sealing: Case) -> None:
    wire = sealing.opened(issuer=None)

    finished = wire.do(PURCHASE)

    assert finished.outcome is Outcome.DECLINED
    assert _ends(wire) == [Outcome.DECLINED]


def test_an_answer_is_taken_once(sealing: Case) -> None:
    wire = sealing.opened(issuer=None)
    wire.host.start(PURCHASE, wire.now)
    wire.run(lambda: any(isinstance(event, OnlineWanted) for event in wire.events))

    wire.host.start(Resume(APPROVES), wire.now)
    with pytest.raises(CommandNotPossible):
        wire.host.start(Resume(DECLINES), wire.now)
    wire.run(lambda: bool(_ends(wire)))

    assert _ends(wire) == [Outcome.APPROVED]


def test_keys_are_never_used_twice(sealing: Case) -> None:
    wire = sealing.opened()
    for _ in range(3):
        wire.do(PURCHASE)

    ksns = [event.tap.ksn for event in wire.events if isinstance(event, OnlineWanted)]

    assert len(ksns) == 3
    assert all(int.from_bytes(one) < int.from_bytes(two) for one, two in pairwise(ksns))


# --- the simulated half ---


def test_its_memory_survives_a_power_cut(case: Case) -> None:
    wire = case.opened()
    wire.do(PURCHASE)
    saved = json.loads(json.dumps(wire.terminal.snapshot()))

    again = case.opened(snapshot=saved)

    assert payments(again) == payments(wire)
    assert again.do(PURCHASE).outcome is Outcome.APPROVED


def test_people_at_it_can_do_what_its_list_says(case: Case) -> None:
    wire = case.opened()

    done = [_controlled(wire, action) for action in case.repertoire.controls]
    with pytest.raises(CommandNotPossible) as refused:
        wire.terminal.control("dance", wire.now)  # type: ignore[attr-defined]  # as above

    assert [line for line in case.repertoire.controls.values() if not line] == []
    assert any(done)
    assert "tap" in str(refused.value) or "tap" not in case.repertoire.controls


def _controlled(wire: Wire, action: str) -> str:
    try:
        said = wire.terminal.control(action, wire.now)  # type: ignore[attr-defined]  # as above
    except CommandNotPossible:
        # Nobody waits for a card now.
        return ""
    assert isinstance(said, str)
    return said


def test_its_digits_name_stories_it_knows(case: Case) -> None:
    stories = {digits: story for digits, (story, _) in case.repertoire.digits.items()}

    wire = case.opened(by_last_digits=stories)

    assert wire.do(PURCHASE).outcome is Outcome.APPROVED
    assert {0, 1, 34} & stories.keys() == set(), "plain amounts are approved"


@pytest.mark.parametrize("settings", [{"script": "dance"}, {"faults": ("dance",)}, {"dance": 1}])
def test_it_refuses_what_it_does_not_know(
    case: Case,
    settings: dict[str, Any],  # of make_terminal
) -> None:
    with pytest.raises(CommandNotPossible):
        case.wire(**settings)


def test_what_was_said_can_be_shown_and_shows_no_card(case: Case) -> None:
    wire = case.opened()
    wire.do(PURCHASE)
    shown = []

    for packet in (*wire.sent_by_host, *wire.sent_by_terminal):
        try:
            shown.append(json.dumps(registry.describe(case.protocol, packet, framing=case.framing)))
        except (MalformedMessage, CommandNotPossible):
            # Several messages in one piece, or part of one.
            continue

    assert shown != []
    assert [number for number in NUMBERS if number in "".join(shown)] == []
