"""Till against simulated terminal: every story and fault, and the till never believes more than it was told."""

from __future__ import annotations

import json
from typing import Any

import pytest

from protocols.errors import CommandNotPossible
from protocols.money import Money
from protocols.readers.concert import messages
from protocols.readers.concert.frames import encode_frame
from protocols.readers.concert.machine import ConcertConfig, ConcertHost
from protocols.readers.concert.messages import Answer
from protocols.readers.concert.peer import CONTROLS, FAULTS, ConcertTerminal, make_terminal
from protocols.readers.protocol import (
    Abort,
    AskStatus,
    Connect,
    EndOfDay,
    Finished,
    LateResult,
    Outcome,
    Preauthorize,
    Progress,
    Purchase,
    QuirkSeen,
    ReaderCommand,
    ReaderEvent,
    ReadTotals,
    RecallLast,
    Refund,
    Reverse,
    Step,
    UpdateSoftware,
)
from protocols.readers.staging import CARDS
from tests.support.reader_wire import Wire

AMOUNT = Money(12_34, "EUR")
PURCHASE = Purchase(AMOUNT)
EOT, ENQ, ACK, NAK = b"\x04", b"\x05", b"\x06", b"\x15"


def _wire(
    *, config: ConcertConfig | None = None, piece: int | None = None, **settings: Any
) -> Wire:  # Any: settings of make_terminal
    wire = Wire(
        ConcertHost("serial", config or ConcertConfig()),
        make_terminal("serial", settings),
        "serial",
        piece=piece,
    )
    wire.connect()
    return wire


def _books(wire: Wire) -> list[tuple[str, str, int]]:
    assert isinstance(wire.terminal, ConcertTerminal)
    return [
        (one["kind"], one["state"], one["amount_minor"]) for one in wire.terminal.store.transactions
    ]


def _host(config: ConcertConfig | None = None) -> ConcertHost:
    """A till whose payment waits for its answer."""
    host = ConcertHost("serial", config or ConcertConfig())
    host.connected(0)
    host.start(PURCHASE, 0)
    assert host.outgoing() == ENQ
    host.feed(ACK, 0)
    assert host.outgoing()[:1] == b"\x02"
    return host


def _answer(result: int = 0, minor: int = 1234, desk: str = "01", private: str = "") -> bytes:
    answer = Answer(desk, result, Money(minor, "EUR"), "1", private)
    return encode_frame(messages.encode_answer(answer, 978))


def _outcomes(events: list[ReaderEvent]) -> list[Outcome]:
    return [event.outcome for event in events if isinstance(event, Finished)]


def test_a_payment_byte_by_byte() -> None:
    host = ConcertHost("serial", ConcertConfig(private="ORDER1"))
    host.connected(0)
    host.start(PURCHASE, 0)
    said = [host.outgoing()]
    events: list[ReaderEvent] = []
    for heard in (ACK, ACK, ENQ, _answer(private="ORDER1"), EOT):
        events += host.feed(heard, 1)
        said.append(host.outgoing())

    request = b"010000123401" + b"0978ORDER1    A010B010"
    assert said == [ENQ, encode_frame(request), EOT, ACK, ACK, b""]
    assert events[0] == Progress(Step.SENT, 0, "the terminal has taken the request")
    finished = events[1]
    assert isinstance(finished, Finished)
    assert (finished.outcome, finished.code, len(events)) == (Outcome.APPROVED, 0, 2)
    assert finished.payment is not None
    assert finished.payment.amount == AMOUNT
    assert finished.payment.authorization_code is None


@pytest.mark.parametrize("command", [Connect(), AskStatus()])
def test_a_probe_moves_nothing(command: ReaderCommand) -> None:
    wire = _wire()

    finished = wire.do(command)

    assert finished.outcome is Outcome.DONE
    assert b"".join(wire.sent_by_host) == ENQ + EOT
    assert _books(wire) == []


@pytest.mark.parametrize(
    ("script", "outcome", "code"),
    [
        ("approve", Outcome.APPROVED, 0),
        ("slow", Outcome.APPROVED, 0),
        ("decline", Outcome.DECLINED, 7),
        ("red_key", Outcome.DECLINED, 7),
        ("no_card", Outcome.DECLINED, 7),
        ("not_verified", Outcome.LOST, 9),
    ],
)
def test_each_story_ends_as_the_terminal_says(script: str, outcome: Outcome, code: int) -> None:
    wire = _wire(script=script)

    finished = wire.do(PURCHASE)

    assert (finished.outcome, finished.code) == (outcome, code)
    state = "done" if outcome is Outcome.APPROVED else "failed"
    assert _books(wire) == [("purchase", state, 1234)]
    assert len(wire.finished) == 1


def test_what_was_not_verified_claims_nothing_and_says_where_to_look() -> None:
    finished = _wire(script="not_verified").do(PURCHASE)

    assert finished.outcome is Outcome.LOST
    assert "duplicate ticket" in finished.text


def test_a_refund_is_asked_as_a_refund() -> None:
    wire = _wire()

    finished = wire.do(Refund(AMOUNT))

    assert finished.outcome is Outcome.APPROVED
    assert _books(wire) == [("refund", "done", 1234)]


@pytest.mark.parametrize("piece", [None, 1, 5])
@pytest.mark.parametrize("fault", sorted(FAULTS))
def test_with_every_fault_the_till_believes_only_what_it_was_told(
    fault: str, piece: int | None
) -> None:
    wire = _wire(piece=piece)
    assert isinstance(wire.terminal, ConcertTerminal)
    wire.terminal.arm(fault)

    finished = wire.do(PURCHASE)
    wire.pass_time(30)

    taken = _books(wire) == [("purchase", "done", 1234)]
    believable = {Outcome.APPROVED, Outcome.LOST} if taken else {Outcome.LOST, Outcome.FAILED}
    assert finished.outcome in believable
    assert len(wire.finished) == 1
    assert len(_books(wire)) <= 1
    assert [number for number in CARDS.values() if number in repr(wire.events)] == []


@pytest.mark.parametrize(
    "fault",
    [
        *("enq_refused:2", "enq_ignored:2", "collision", "nak:2", "lost_ack", "bad_lrc:2"),
        *("long_answer", "result_repeated", "stray_enq", "eot_missing", "garbage", "truncated"),
    ],
)
def test_line_faults_do_not_lose_the_answer(fault: str) -> None:
    wire = _wire(faults=(fault,))

    finished = wire.do(PURCHASE)
    wire.pass_time(30)

    assert finished.outcome is Outcome.APPROVED
    assert _books(wire) == [("purchase", "done", 1234)]
    assert wire.late == []
    assert wire.host.is_idle()


def test_a_request_whose_confirmation_is_lost_is_decided_by_its_answer() -> None:
    wire = _wire(faults=("lost_ack",), script="slow")

    finished = wire.do(PURCHASE)

    assert finished.outcome is Outcome.APPROVED
    assert wire.quirks["request_not_confirmed"] == 1
    assert (len(_books(wire)), wire.late) == (1, [])


def test_a_long_answer_is_read_and_told_but_not_kept() -> None:
    wire = _wire(faults=("long_answer",))

    finished = wire.do(PURCHASE)

    assert finished.outcome is Outcome.APPROVED
    assert wire.quirks["long_answer"] == 1
    assert CARDS["visa"] not in repr(wire.events)
    assert CARDS["visa"].encode() in b"".join(wire.sent_by_terminal)


def test_the_long_answer_is_never_asked_for() -> None:
    wire = _wire()
    wire.do(PURCHASE)
    wire.do(Refund(AMOUNT))

    requests = [sent for sent in wire.sent_by_host if sent[:1] == b"\x02"]
    assert [one[11:12] for one in requests] == [b"0", b"0"]


def test_the_same_answer_again_counts_once() -> None:
    wire = _wire(faults=("stray_enq", "result_repeated"))

    wire.do(PURCHASE)
    wire.pass_time(30)

    assert wire.quirks["result_repeated"] == 2
    assert (len(wire.finished), len(wire.late)) == (1, 0)


def test_two_equal_payments_are_two() -> None:
    wire = _wire()

    ends = [wire.do(PURCHASE).outcome for _ in range(2)]

    assert ends == [Outcome.APPROVED] * 2
    assert len(_books(wire)) == 2


def test_a_terminal_that_is_not_ready_is_asked_three_times() -> None:
    wire = _wire(faults=("enq_refused:always",))

    finished = wire.do(PURCHASE)

    assert finished.outcome is Outcome.BUSY
    assert b"".join(wire.sent_by_host) == (ENQ + EOT) * 3
    assert _books(wire) == []


def test_a_terminal_that_says_nothing_got_no_payment() -> None:
    wire = _wire(faults=("enq_ignored:always",))

    paid = wire.do(PURCHASE)
    asked = wire.do(AskStatus())

    assert (paid.outcome, asked.outcome) == (Outcome.FAILED, Outcome.LOST)
    assert b"\x02" not in b"".join(wire.sent_by_host)


def test_a_request_refused_three_times_did_not_begin() -> None:
    wire = _wire(faults=("nak:always",))

    finished = wire.do(PURCHASE)

    assert finished.outcome is Outcome.FAILED
    assert b"".join(wire.sent_by_host).count(b"A010B010") == 3
    assert _books(wire) == []


def test_a_request_that_nobody_confirms_is_not_said_again() -> None:
    host = _host()

    waited = list(host.expired(3.0))
    said = host.outgoing()
    ended = list(host.expired(153.0))

    assert waited == [QuirkSeen("request_not_confirmed")]
    assert said == EOT
    assert _outcomes(ended) == [Outcome.LOST]
    assert host.outgoing() == b""


def test_an_answer_after_the_wait_is_late() -> None:
    host = _host()
    host.feed(ACK, 1)
    lost = list(host.expired(151.0))
    events: list[ReaderEvent] = []
    host.outgoing()
    for heard in (ENQ, _answer(), EOT):
        events += host.feed(heard, 200)

    assert _outcomes(lost) == [Outcome.LOST]
    (late,) = events
    assert isinstance(late, LateResult)
    assert (late.outcome, late.payment.amount) == (Outcome.APPROVED, AMOUNT)
    assert host.outgoing() == ACK + ACK
    assert host.is_idle()


def test_a_collision_yields_while_an_answer_is_outstanding() -> None:
    host = _host()
    host.expired(3.0)
    host.expired(153.0)
    host.outgoing()
    host.start(AskStatus(), 160)
    host.outgoing()

    events = [event for heard in (ENQ, _answer(), EOT) for event in host.feed(heard, 161)]
    said = host.outgoing()
    events += host.expired(162.0)
    again = host.outgoing()
    events += host.feed(ACK, 162.1)

    assert said == ACK + ACK
    assert again == ENQ
    assert [type(event) for event in events] == [LateResult, Finished]


def test_a_collision_is_won_when_nothing_is_outstanding() -> None:
    host = ConcertHost("serial", ConcertConfig())
    host.connected(0)
    host.start(PURCHASE, 0)
    host.outgoing()

    events = [*host.feed(ENQ, 0.1), *host.feed(ACK, 0.2)]

    assert events == [QuirkSeen("collision")]
    assert host.outgoing()[:1] == b"\x02"


@pytest.mark.parametrize(
    "other", [_answer(minor=1235), _answer(desk="02")], ids=["amount", "cash desk"]
)
def test_an_answer_about_another_payment_is_not_ours(other: bytes) -> None:
    host = _host()
    host.feed(ACK, 1)

    events = [event for heard in (ENQ, other, EOT) for event in host.feed(heard, 2)]
    ours = [event for heard in (ENQ, _answer(7), EOT) for event in host.feed(heard, 3)]

    assert [type(event) for event in events] == [LateResult]
    assert _outcomes(ours) == [Outcome.DECLINED]


def test_a_damaged_answer_is_asked_for_again_and_then_given_up() -> None:
    host = _host()
    host.feed(ACK, 1)
    host.feed(ENQ, 2)
    host.outgoing()
    bad = _answer()[:-1] + b"\x7f"

    for _ in range(5):
        host.feed(bad, 3)

    assert host.outgoing() == NAK * 3
    assert not host.is_idle()
    assert _outcomes(list(host.expired(200))) == [Outcome.LOST]


@pytest.mark.parametrize(
    ("heard", "outcome"),
    [
        ([], Outcome.LOST),
        ([ACK], Outcome.LOST),
        ([ACK, ENQ], Outcome.LOST),
        ([ACK, ENQ, _answer()], Outcome.APPROVED),
        ([ACK, ENQ, _answer(7)], Outcome.DECLINED),
    ],
)
def test_a_line_that_breaks_ends_the_payment_as_far_as_it_was_told(
    heard: list[bytes], outcome: Outcome
) -> None:
    host = _host()
    for one in heard:
        host.feed(one, 1)

    assert _outcomes(list(host.disconnected(2))) == [outcome]
    assert host.disconnected(3) == []


def test_a_line_that_breaks_before_the_request_left_is_a_failure() -> None:
    host = ConcertHost("serial", ConcertConfig())
    host.connected(0)
    host.start(PURCHASE, 0)
    host.outgoing()
    host.feed(ACK, 0)

    assert _outcomes(list(host.disconnected(1))) == [Outcome.FAILED]
    assert host.outgoing() == b""


@pytest.mark.parametrize("steps", range(20))
def test_the_cable_pulled_at_any_moment_never_claims_too_much(steps: int) -> None:
    wire = _wire()
    wire.host.start(PURCHASE, wire.now)
    left = iter(range(steps))
    wire.run(lambda: next(left, None) is None or bool(wire.finished))

    wire.disconnect()
    wire.connect()
    wire.pass_time(60)

    taken = bool(_books(wire))
    assert wire.finished[0].outcome in (
        {Outcome.APPROVED, Outcome.LOST} if taken else {Outcome.LOST, Outcome.FAILED}
    )
    assert len(wire.finished) == 1
    assert wire.do(AskStatus()).outcome is Outcome.DONE


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (Abort(), "red key"),
        (RecallLast(), "duplicate ticket"),
        (ReadTotals(), "print them"),
        (EndOfDay(), "by itself"),
        (Reverse(1), "refund"),
        (UpdateSoftware(), "its own host"),
        (Preauthorize(AMOUNT), "no such command"),
        (Purchase(Money(100_000_000, "EUR")), "eight digits"),
        (Purchase(Money(0, "EUR")), "above zero"),
    ],
)
def test_what_it_cannot_do_is_said_and_not_sent(command: ReaderCommand, says: str) -> None:
    wire = _wire()

    with pytest.raises(CommandNotPossible, match=says):
        wire.host.start(command, wire.now)

    assert wire.host.outgoing() == b""
    assert wire.host.is_idle()


def test_a_number_of_the_terminals_own_is_told() -> None:
    finished = _wire(echoes=False).do(PURCHASE)

    assert finished.payment is not None
    assert finished.payment.authorization_code == "0000000001"


@pytest.mark.parametrize("action", ["tap", "insert", "swipe", "red_key"])
def test_people_at_the_terminal_decide_when_it_waits_for_them(action: str) -> None:
    wire = _wire(script="manual")
    wire.host.start(PURCHASE, wire.now)
    wire.pass_time(10)
    before = list(wire.finished)

    assert isinstance(wire.terminal, ConcertTerminal)
    wire.terminal.control(action, wire.now)
    wire.run(wire.host.is_idle)

    assert before == []
    expected = Outcome.DECLINED if action == "red_key" else Outcome.APPROVED
    assert wire.finished[-1].outcome is expected


def test_the_other_controls_do_what_the_list_says() -> None:
    wire = _wire()
    assert isinstance(wire.terminal, ConcertTerminal)
    wire.terminal.control("decline_next", wire.now)
    declined = wire.do(PURCHASE)
    wire.terminal.control("hang", wire.now)
    hung = wire.do(AskStatus())
    wire.terminal.control("reboot", wire.now)
    wire.quiet()

    assert (declined.outcome, hung.outcome) == (Outcome.DECLINED, Outcome.LOST)
    assert wire.terminal.unreachable_until() is not None
    with pytest.raises(CommandNotPossible) as refused:
        wire.terminal.control("dance", wire.now)
    assert refused.value.facts["known"] == ", ".join(CONTROLS)


def test_the_terminal_goes_on_after_a_power_cut() -> None:
    wire = _wire()
    wire.do(PURCHASE)
    saved = json.loads(json.dumps(wire.terminal.snapshot()))

    again = _wire(snapshot=saved)

    assert _books(again) == _books(wire)


@pytest.mark.parametrize(
    "settings",
    [
        {"cash_desk": "1"},
        {"payment_mode": "Z"},
        {"nonsense": 1},
        {"timeouts_ms": {"t9": 1}},
        {"retries": {"money_command": 1}},
        {"quirks": [{"id": "x", "action": "dance", "applies": "*"}]},
    ],
)
def test_settings_that_mean_nothing_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(CommandNotPossible):
        ConcertConfig.from_settings(settings)


def test_settings_of_a_profile_are_read() -> None:
    config = ConcertConfig.from_settings(
        {
            "currency": 978,
            "cash_desk": "07",
            "timeouts_ms": {"control": 2000, "result": 120000, "pause": 500},
            "retries": {"frame": 1, "money_command": 0},
        }
    )

    assert config == ConcertConfig(
        cash_desk="07", control_s=2.0, result_s=120.0, pause_s=0.5, tries=2
    )
    with pytest.raises(CommandNotPossible):
        ConcertHost("tcp", config)


@pytest.mark.parametrize("settings", [{"script": "dance"}, {"faults": ("dance",)}, {"nonsense": 1}])
def test_a_simulated_terminal_refuses_what_it_does_not_know(settings: dict[str, Any]) -> None:
    with pytest.raises(CommandNotPossible):
        make_terminal("serial", settings)
