"""What every processor of sealed cards promises, on our sandbox over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from control_plane.acquirer_sandbox.faults import FaultKind
from control_plane.card_present.processor import (
    AnswerUnknown,
    Approved,
    Declined,
    NotReached,
    ProcessorRefused,
)
from control_plane.processors.cybersource.adapter import CyberSource
from protocols.money import Money
from tests.support.acquirer import (
    QUICK,
    AcquirerServer,
    acquirer_server,
    request_for,
    sealed_card,
)
from tests.support.card_scan import scan


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AcquirerServer]:
    with acquirer_server() as server:
        yield server


@pytest.fixture
def acquirer(running: AcquirerServer) -> AcquirerServer:
    running.sandbox.faults.clear()
    return running


@pytest.mark.parametrize("layout", ["magtek_mms", "idtech_neo"])
@pytest.mark.parametrize("scheme", ["dukpt-tdes", "dukpt-aes"])
def test_a_sealed_card_is_approved_with_data_for_the_card(
    acquirer: AcquirerServer, scheme: str, layout: str
) -> None:
    request = request_for(12_50, card=sealed_card(scheme=scheme, layout=layout))

    outcome = acquirer.adapter().authorize(request)

    assert isinstance(outcome, Approved)
    assert (outcome.amount, outcome.response_code) == (Money(12_50, "EUR"), "00")
    assert len(outcome.authorization_code) == 6
    assert outcome.issuer_data[:2] == b"\x91\x0a"
    assert outcome.issuer_data[-2:] == b"00"


@pytest.mark.parametrize("code", ["05", "51", "54", "55", "91"])
def test_the_last_digits_decline_with_their_code(acquirer: AcquirerServer, code: str) -> None:
    before = acquirer.money()

    outcome = acquirer.adapter().authorize(request_for(10_00 + int(code)))

    assert isinstance(outcome, Declined)
    assert outcome.response_code == code
    assert outcome.issuer_data.endswith(code.encode())
    assert acquirer.money() == before


def test_a_part_is_told_as_a_part(acquirer: AcquirerServer) -> None:
    outcome = acquirer.adapter().authorize(request_for(20_10))

    assert isinstance(outcome, Approved)
    assert outcome.amount == Money(10_05, "EUR")


def test_money_is_taken_once_however_often_it_is_asked(acquirer: AcquirerServer) -> None:
    adapter, request = acquirer.adapter(), request_for(30_00)
    reserved, captured, refunded = acquirer.money()
    outcome = adapter.authorize(request)

    first = adapter.capture(outcome.reference, "key-c-30", request.amount)
    again = adapter.capture(outcome.reference, "key-c-30", request.amount)
    given = adapter.refund(first.reference, "key-f-30", Money(5_00, "EUR"))
    once_more = adapter.refund(first.reference, "key-f-30", Money(5_00, "EUR"))

    assert (again, once_more) == (first, given)
    assert acquirer.money() == (reserved, captured + 30_00, refunded + 5_00)


def test_what_is_reversed_by_its_key_or_reference_is_reserved_no_more(
    acquirer: AcquirerServer,
) -> None:
    adapter, before = acquirer.adapter(), acquirer.money()
    known, unknown = request_for(40_00), request_for(41_00)
    outcome = adapter.authorize(known)
    adapter.authorize(unknown)

    assert adapter.reverse(outcome.reference, "key-r-40", known.key, known.amount).was_there
    assert adapter.reverse("", "key-r-41", unknown.key, unknown.amount).was_there
    assert adapter.reverse("", "key-r-41", unknown.key, unknown.amount).was_there
    assert not adapter.reverse("", "key-r-42", "tap_of_nobody", known.amount).was_there
    assert acquirer.money() == before


def test_no_more_is_given_back_than_was_taken(acquirer: AcquirerServer) -> None:
    adapter, request = acquirer.adapter(), request_for(50_00)
    taken = adapter.capture(adapter.authorize(request).reference, "key-c-50", request.amount)
    adapter.refund(taken.reference, "key-f-50", Money(30_00, "EUR"))
    before = acquirer.money()

    with pytest.raises(ProcessorRefused):
        adapter.refund(taken.reference, "key-f-51", Money(20_01, "EUR"))

    assert acquirer.money() == before


@pytest.mark.parametrize(
    ("kind", "error", "is_reserved"),
    [
        (FaultKind.LOST_REQUEST, AnswerUnknown, False),
        (FaultKind.LOST_ANSWER, AnswerUnknown, True),
        (FaultKind.TIMEOUT_AFTER_SUCCESS, AnswerUnknown, True),
        (FaultKind.SERVER_ERROR, AnswerUnknown, False),
        (FaultKind.SERVER_ERROR_AFTER_SUCCESS, AnswerUnknown, True),
        (FaultKind.RATE_LIMIT, NotReached, False),
    ],
)
def test_a_failure_says_whether_money_may_be_reserved(
    acquirer: AcquirerServer, kind: FaultKind, error: type[Exception], is_reserved: bool
) -> None:
    adapter, request = acquirer.adapter(), request_for(60_00)
    reserved = acquirer.money()[0]
    acquirer.fault(kind, delay_s=2.0)

    with pytest.raises(error):
        adapter.authorize(request)

    assert acquirer.money()[0] - reserved == (60_00 if is_reserved else 0)
    adapter.reverse("", "key-r-60", request.key, request.amount)
    assert acquirer.money()[0] == reserved


def test_a_key_that_nobody_has_opens_nothing(acquirer: AcquirerServer) -> None:
    before = len(acquirer.sandbox.books.entries())
    access = replace(acquirer.access, secret="bm90IHRoZSBzZWNyZXQgb2YgYW55Ym9keQ==")
    stranger = CyberSource(access, acquirer.url, timeout=QUICK)

    with pytest.raises(ProcessorRefused) as refused:
        stranger.authorize(request_for(70_00))
    with pytest.raises(ProcessorRefused):
        stranger.check()

    assert refused.value.is_access
    assert len(acquirer.sandbox.books.entries()) == before
    acquirer.adapter().check()


def test_another_readers_key_is_not_opened(acquirer: AcquirerServer) -> None:
    card = sealed_card()
    other = msgspec.structs.replace(card, ksn=bytes((0xFF, 0xAA)) + card.ksn[2:])

    with pytest.raises(ProcessorRefused) as refused:
        acquirer.adapter().authorize(request_for(80_00, card=other))

    assert not refused.value.is_access


def test_nobody_there_means_that_nothing_happened(acquirer: AcquirerServer) -> None:
    absent = CyberSource(acquirer.access, "http://127.0.0.1:9", timeout=QUICK)

    with pytest.raises(NotReached):
        absent.authorize(request_for(90_00))


def test_no_card_number_is_written(tmp_path: Path) -> None:
    with acquirer_server(tmp_path / "acquirer.db") as server:
        server.adapter().authorize(request_for(12_00))
        entries = server.sandbox.books.entries()

    written = [one for one in tmp_path.iterdir() if one.is_file()]

    assert entries[0]["masked"].endswith("4444")
    assert written
    assert [one for path in written for one in scan(path.read_bytes(), path)] == []
