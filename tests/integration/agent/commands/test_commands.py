"""Commands: understood strictly, run once, answered always."""

from __future__ import annotations

import asyncio
import io
import json
import zipfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import msgspec
import pytest

from agent import inbox
from agent.errors import AgentError
from agent.log_book import BOOK
from firmware_profiles import load_profile
from protocols.cloud.commands import (
    CloseReaderDay,
    Command,
    CommandBody,
    DiagnoseReader,
    FetchLogs,
    RebootReader,
    RenewCertificate,
    ReportNow,
    RestartAgent,
    SelfTest,
    ShowReaderText,
    TailLog,
    encode,
)
from protocols.cloud.events import LogLines
from protocols.cloud.topics import Channel
from tests.support.till import (
    Fate,
    LateClock,
    Server,
    Terminal,
    Till,
    opened,
    plugged_in,
    till_with_terminal,
)
from tests.support.waiting import eventually_async


@pytest.fixture
async def till(tmp_path: Path) -> AsyncIterator[Till]:
    async with till_with_terminal(tmp_path) as ready:
        yield ready


def raw(body: dict[str, object], command_id: str | None = "cmd_0001", **more: object) -> bytes:
    command = {"ttl_ms": 10_000, "issued_at": "then", "expires_at": "later", "body": body, **more}
    return json.dumps(command if command_id is None else {"id": command_id, **command}).encode()


async def until_sent(till: Till, count: int) -> list[bytes]:
    """Payloads of results on the line, as soon as there are so many."""

    async def sent() -> list[bytes]:
        found = [payload for channel, payload in till.sent if channel is Channel.RESULT]
        return found if len(found) >= count else []

    return await eventually_async(sent)


async def test_a_harmless_command_is_run_and_answered(till: Till) -> None:
    till.receive(ReportNow())

    result = await till.result_of()

    assert (result.status, result.code) == ("succeeded", "")
    assert till.reports == 1
    assert till.server.claims == []


async def test_a_command_that_comes_twice_runs_once_and_its_result_is_sent_again(
    till: Till,
) -> None:
    till.receive(ReportNow())
    till.receive(ReportNow())
    await till.result_of()

    till.receive(ReportNow())

    first, *others = await until_sent(till, 2)
    assert set(others) == {first}
    assert till.reports == 1
    assert len(await till.results()) == 1


async def test_a_command_is_not_run_again_after_a_restart(tmp_path: Path) -> None:
    clock, server = LateClock(), Server()
    async with opened(Till(tmp_path, [], clock, server)) as first:
        first.receive(ReportNow())
        await first.result_of()

    async with opened(Till(tmp_path, [], clock, server)) as second:
        await until_sent(second, 1)
        second.receive(ReportNow())
        sent = await until_sent(second, 2)

        assert second.reports == 0
        assert len(set(sent)) == 1


async def test_what_the_last_life_left_unanswered_is_answered_at_the_start(tmp_path: Path) -> None:
    clock, server = LateClock(), Server()
    one = Terminal(clock)
    async with plugged_in(one):
        async with opened(Till(tmp_path, [one], clock, server)) as first:
            await first.until_ready()
            one.next_goes("slow")
            first.receive(first.payment(), "cmd_pay1")
            await eventually_async(first.steps)
            # Deferred for as long as the payment runs, so it dies with the agent.
            first.receive(RestartAgent(), "cmd_restart")

            async def is_remembered() -> bool:
                return "cmd_restart" in await first.journal.read(inbox.unfinished)

            await eventually_async(is_remembered)

        async with opened(Till(tmp_path, [one], clock, server)) as second:
            result = await second.result_of("cmd_restart")

    assert (result.status, result.code) == ("failed", "interrupted")


@pytest.mark.parametrize(
    "payload",
    [
        raw({"kind": "agent.report", "extra": 1}),
        raw({"kind": "agent.report"}, more=1),
        raw({"kind": "agent.dance"}),
        raw({"kind": "payment.start", "session_id": "ts_0001"}),
        raw({"kind": "agent.report"}, ttl_ms=0),
    ],
    ids=["field of the body", "field of the command", "kind", "missing field", "lifetime"],
)
async def test_a_command_that_is_not_understood_is_rejected_by_name(
    till: Till, payload: bytes
) -> None:
    till.receive_bytes(payload)
    till.receive_bytes(payload)

    result = await till.result_of()

    assert (result.status, result.code) == ("rejected", "unknown_field")
    assert result.text.startswith("It is not understood here: ")
    assert len(await till.results()) == 1
    assert till.reports == 0


@pytest.mark.parametrize("payload", [b"", b"\xff\xfe", b"[]", raw({"kind": "agent.report"}, None)])
async def test_a_command_without_an_id_is_told_once(till: Till, payload: bytes) -> None:
    for _ in range(3):
        till.receive_bytes(payload)
    till.receive(ReportNow())
    await till.result_of()

    (event,) = await till.events()

    assert (event.kind, event.severity) == ("command.unreadable", "warning")
    assert len(await till.results()) == 1


async def test_a_command_of_a_later_version_is_rejected(till: Till) -> None:
    till.receive_bytes(raw({"kind": "agent.report"}, v=2))

    result = await till.result_of()

    assert (result.status, result.code) == ("rejected", "unknown_version")
    assert till.reports == 0


async def test_a_command_that_a_broker_had_kept_is_never_run(till: Till) -> None:
    till.receive(till.payment(), is_retained=True)

    result = await till.result_of()

    assert (result.status, result.code) == ("rejected", "retained")
    assert till.server.claims == []
    assert till.terminals[0].purchases == []


async def test_a_command_that_waited_too_long_is_not_run(till: Till) -> None:
    till.receive(ReportNow(), ttl_ms=1000, waited_s=1.0)

    result = await till.result_of()

    assert (result.status, result.code) == ("expired", "expired_locally")
    assert till.reports == 0


async def test_nothing_is_run_that_cannot_be_remembered(till: Till) -> None:
    till.journal.fate = lambda _: Fate.DISK_FULL
    till.receive(ReportNow(), "cmd_0001")
    till.receive(till.payment(), "cmd_0002")
    await asyncio.gather(*(asyncio.sleep(0) for _ in range(20)))
    reports = till.reports
    till.journal.fate = lambda _: Fate.STORED

    till.receive(ReportNow(), "cmd_0001")
    result = await till.result_of("cmd_0001")

    assert reports == 0
    assert result.status == "succeeded"
    assert till.server.claims == []
    assert till.terminals[0].purchases == []
    assert len(await till.results()) == 1


# --- commands for readers --------------------------------------------------------------------------------------


async def test_a_reader_tests_its_line(till: Till) -> None:
    till.receive(DiagnoseReader(reader_id=till.reader_id))

    assert (await till.result_of()).status == "succeeded"


async def test_a_reader_shows_a_text(till: Till) -> None:
    till.receive(ShowReaderText(reader_id=till.reader_id, lines=["Closed until 2"]))

    assert (await till.result_of()).status == "succeeded"


async def test_a_reader_closes_its_day_and_tells_its_totals(till: Till) -> None:
    for number, minor in enumerate([1000, 234], 1):
        till.receive(till.payment(f"ts_000{number}", minor), f"cmd_000{number}")
        await till.payment_of(f"ts_000{number}")

    till.receive(CloseReaderDay(reader_id=till.reader_id), "cmd_close")
    result = await till.result_of("cmd_close")

    (totals,) = await till.totals()
    assert result.status == "succeeded"
    assert (totals.reader_id, totals.closed, totals.currency) == (till.reader_id, True, "EUR")
    assert sum(amount for _, _, amount in totals.per_scheme) == 1234
    assert sum(count for _, count, _ in totals.per_scheme) == 2


async def test_a_reader_restarts_and_comes_back(till: Till) -> None:
    before = till.terminals[0].machine.store.restarts
    till.receive(RebootReader(reader_id=till.reader_id))

    result = await till.result_of()
    await till.until_ready()

    assert result.status == "succeeded"
    assert till.terminals[0].machine.store.restarts == before + 1


def wants_its_day_closed(till: Till) -> None:
    """Make the reader a model of the same protocol that is to close before it restarts."""
    slot = till.taps.slot(till.reader_id)
    assert slot is not None
    slot.profile = load_profile("feig-cvend-plug")


async def test_a_reader_closes_its_day_before_it_restarts(till: Till) -> None:
    wants_its_day_closed(till)
    before = till.terminals[0].machine.store.restarts
    till.receive(till.payment("ts_0001", 1234), "cmd_0001")
    await till.payment_of("ts_0001")

    till.receive(RebootReader(reader_id=till.reader_id), "cmd_0002")
    result = await till.result_of("cmd_0002")

    (totals,) = await till.totals()
    assert (result.status, totals.closed) == ("succeeded", True)
    assert sum(amount for _, _, amount in totals.per_scheme) == 1234
    assert till.terminals[0].machine.store.restarts == before + 1


async def test_a_reader_whose_day_stays_open_is_not_restarted(till: Till) -> None:
    wants_its_day_closed(till)
    before = till.terminals[0].machine.store.restarts
    till.terminals[0].machine.store.lock = 0xC4
    till.receive(RebootReader(reader_id=till.reader_id))

    result = await till.result_of()

    assert (result.status, result.code) == ("failed", "day_not_closed")
    assert till.terminals[0].machine.store.restarts == before
    assert await till.totals() == []


@pytest.mark.parametrize("kind", [RebootReader, DiagnoseReader, CloseReaderDay])
async def test_a_reader_that_takes_a_payment_is_left_alone(
    till: Till, kind: type[RebootReader | DiagnoseReader | CloseReaderDay]
) -> None:
    before = till.terminals[0].machine.store.restarts
    till.terminals[0].next_goes("slow")
    till.receive(till.payment())
    await eventually_async(till.steps)

    till.receive(kind(reader_id=till.reader_id), "cmd_0002")
    result = await till.result_of("cmd_0002")

    assert (result.status, result.code) == ("refused", "reader_busy")
    assert till.terminals[0].machine.store.restarts == before
    assert (await till.payment_of()).outcome == "approved"


async def test_a_reader_that_is_not_there_is_said_to_be_offline(till: Till) -> None:
    till.terminals[0].simulated.unplug()

    async def is_gone() -> bool:
        return till.readers.reported()[0].state == "disconnected"

    await eventually_async(is_gone)
    till.receive(DiagnoseReader(reader_id=till.reader_id))
    result = await till.result_of()

    assert (result.status, result.code) == ("refused", "reader_offline")


@pytest.mark.parametrize(
    "body",
    [
        DiagnoseReader(reader_id="rd_other"),
        ShowReaderText(reader_id="rd_other", lines=["?"]),
    ],
)
async def test_a_reader_that_is_not_ours_is_unknown(till: Till, body: CommandBody) -> None:
    till.receive(body)

    result = await till.result_of()

    assert (result.status, result.code) == ("refused", "unknown_reader")


# --- commands for the agent ------------------------------------------------------------------------------------


async def test_a_restart_waits_for_the_payment_that_runs_and_refuses_the_next(till: Till) -> None:
    till.terminals[0].next_goes("slow")
    till.receive(till.payment("ts_0001"), "cmd_0001")
    await eventually_async(till.steps)

    till.receive(RestartAgent(), "cmd_restart")
    await asyncio.gather(*(asyncio.sleep(0) for _ in range(20)))
    restarts_while_it_ran = till.restarts
    result = await till.result_of("cmd_restart")
    paid = await till.payment_of("ts_0001")
    till.receive(till.payment("ts_0002"), "cmd_0002")
    refused = await till.result_of("cmd_0002")

    assert restarts_while_it_ran == 0
    assert paid.outcome == "approved"
    assert result.status == "succeeded"
    assert till.restarts == 1
    assert (refused.status, refused.code) == ("refused", "agent_stopping")
    assert len(till.terminals[0].purchases) == 1


async def test_a_restart_that_expires_while_a_payment_runs_is_not_done(till: Till) -> None:
    till.terminals[0].next_goes("no_card")
    till.receive(till.payment())
    await eventually_async(till.steps)

    till.receive(RestartAgent(), "cmd_restart", ttl_ms=100)
    result = await till.result_of("cmd_restart")

    assert (result.status, result.code) == ("expired", "payment_running")
    assert till.restarts == 0
    assert (await till.payment_of()).outcome == "cancelled"


async def test_a_certificate_is_renewed_on_command(till: Till) -> None:
    till.receive(RenewCertificate())

    assert (await till.result_of()).status == "succeeded"


async def test_a_certificate_that_cannot_be_renewed_is_told_with_the_reason(till: Till) -> None:
    till.renewal = AgentError("the control plane does not answer")
    till.receive(RenewCertificate())

    result = await till.result_of()

    assert (result.status, result.text) == ("failed", "the control plane does not answer")


def test_commands_travel_as_the_contract_says() -> None:
    command = Command(id="cmd_1", ttl_ms=1, issued_at="", expires_at="", body=ReportNow())

    assert json.loads(encode(command))["body"] == {"kind": "agent.report"}


# --- support -------------------------------------------------------------------------------------------------------


def logged(till: Till) -> list[LogLines]:
    """What went out on the log channel."""
    return [
        msgspec.json.decode(payload, type=LogLines)
        for channel, payload in till.sent
        if channel is Channel.LOG
    ]


def events_of(messages: list[LogLines]) -> list[str]:
    return [json.loads(line)["event"] for message in messages for line in message.lines]


async def _began(till: Till) -> bool:
    return bool(await till.steps())


async def until_last(till: Till) -> list[LogLines]:
    async def ended() -> list[LogLines]:
        found = logged(till)
        return found if found and found[-1].last else []

    return await eventually_async(ended)


@pytest.fixture
def book(tmp_path: Path) -> Iterator[None]:
    BOOK.open(tmp_path / "log")
    yield
    BOOK.shut()


@pytest.mark.usefixtures("book")
async def test_the_last_lines_of_the_log_are_sent_once_when_nobody_wants_to_follow(
    till: Till,
) -> None:
    for number in range(5):
        BOOK.write({"level": "info", "event": f"line_{number}"})
    BOOK.write({"level": "debug", "event": "chatter"})

    till.receive(TailLog(lines=3, level="info"))

    messages = await until_last(till)
    assert events_of(messages) == ["line_2", "line_3", "line_4"]
    assert [message.seq for message in messages] == list(range(1, len(messages) + 1))
    assert (await till.result_of()).output == {"lines": "3"}


@pytest.mark.usefixtures("book")
async def test_new_lines_follow_until_the_time_is_over_and_a_later_tail_ends_the_one_before(
    till: Till,
) -> None:
    till.receive(TailLog(lines=0, seconds=900), "cmd_first")
    await till.result_of("cmd_first")
    till.receive(TailLog(lines=0, seconds=2), "cmd_second")
    await till.result_of("cmd_second")
    BOOK.write({"level": "warning", "event": "the_drawer_is_open"})

    messages = await until_last(till)

    second = [one for one in messages if one.command_id == "cmd_second"]
    assert "the_drawer_is_open" in events_of(second)
    assert "the_drawer_is_open" not in events_of(
        [one for one in messages if one.command_id == "cmd_first"]
    )
    assert [one.last for one in messages if one.command_id == "cmd_first"].count(True) == 0


@pytest.mark.usefixtures("book")
async def test_a_line_of_any_length_fits_into_messages_of_the_contract(till: Till) -> None:
    for number in range(30):
        BOOK.write({"level": "info", "event": f"long_{number}", "text": '"\\' * 2000})

    till.receive(TailLog(lines=500))

    messages = await until_last(till)
    sizes = [len(payload) for channel, payload in till.sent if channel is Channel.LOG]
    assert len(messages) > 1
    assert max(sizes) <= 32 * 1024
    assert events_of(messages) == [f"long_{number}" for number in range(30)]


async def test_a_self_test_names_each_thing_and_fails_when_one_is_bad(till: Till) -> None:
    till.receive(SelfTest())

    result = await till.result_of()

    assert (result.status, result.code) == ("failed", "self_test_failed")
    assert result.output["identity"].startswith("bad: ")
    assert result.output["disk"].startswith("good: ")
    [reader] = [words for name, words in result.output.items() if name.startswith("reader ")]
    assert reader.startswith("good: It answers")


async def test_a_self_test_leaves_a_reader_alone_that_is_taking_a_payment(till: Till) -> None:
    till.terminals[0].next_goes("slow")
    till.receive(till.payment(), "cmd_pay")
    await eventually_async(lambda: _began(till))

    till.receive(SelfTest(), "cmd_test")

    result = await till.result_of("cmd_test")
    [reader] = [words for name, words in result.output.items() if name.startswith("reader ")]
    assert reader == f"skipped: {till.terminals[0].name} is taking a payment."


@pytest.mark.usefixtures("book")
async def test_a_bundle_has_the_log_and_the_self_test(till: Till) -> None:
    BOOK.write({"level": "info", "event": "before_the_fault"})

    till.receive(FetchLogs())

    result = await till.result_of()
    packed = till.bundles["cmd_0001"]
    assert result.output == {"bytes": str(len(packed))}
    with zipfile.ZipFile(io.BytesIO(packed)) as bundle:
        assert sorted(bundle.namelist()) == ["agent.log", "self-test.json", "state.json"]
        assert b"before_the_fault" in bundle.read("agent.log")
        assert json.loads(bundle.read("state.json")) == {"boot": 1}
