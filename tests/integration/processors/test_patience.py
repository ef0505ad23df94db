"""How long and how often Stripe is asked, and what is said when it does not answer."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from control_plane.processors.stripe.adapter import StripeProcessor
from control_plane.processors.stripe.client import Access, Patience
from control_plane.sandbox.faults import FaultKind
from control_plane.virtual_terminal.processor import (
    AnswerUnknown,
    NotReached,
    Refused,
    WebhookAddress,
)
from tests.fixtures.virtual_terminal import PATIENCE
from tests.support.play_account import PlayAccount
from tests.support.ports import LOOPBACK, free_port
from tests.support.stripe_sandbox import SECRET_KEY

CALL = "POST /v1/webhook_endpoints"


def add(processor: StripeProcessor, key: str = "acc_1:webhook") -> WebhookAddress:
    """A call that makes something, so that doing it twice would show."""
    return processor.add_webhook("https://shop.example/hooks", ("charge.failed",), key=key)


def made(sandbox: PlayAccount) -> list[str]:
    return [one["id"] for one in sandbox.objects("webhook_endpoint")]


@pytest.mark.parametrize(
    "kind",
    [
        FaultKind.LOST_REQUEST,
        FaultKind.LOST_ANSWER,
        FaultKind.TIMEOUT_AFTER_SUCCESS,
        FaultKind.SERVER_ERROR,
        FaultKind.CONFLICT,
        FaultKind.RATE_LIMIT,
    ],
    ids=str,
)
def test_one_fault_is_overcome_and_nothing_is_done_twice(
    processor: StripeProcessor, sandbox: PlayAccount, kind: FaultKind
) -> None:
    sandbox.fault(kind, CALL)

    address = add(processor)

    assert made(sandbox) == [address.id]


@pytest.mark.parametrize(
    ("kind", "failure", "happened"),
    [
        (FaultKind.LOST_REQUEST, AnswerUnknown, 0),
        (FaultKind.LOST_ANSWER, AnswerUnknown, 1),
        (FaultKind.SERVER_ERROR, AnswerUnknown, 0),
        (FaultKind.SERVER_ERROR_AFTER_SUCCESS, AnswerUnknown, 1),
        (FaultKind.TIMEOUT_AFTER_SUCCESS, AnswerUnknown, 1),
        (FaultKind.CONFLICT, NotReached, 0),
        (FaultKind.RATE_LIMIT, NotReached, 0),
    ],
    ids=lambda value: str(value) if isinstance(value, FaultKind) else "",
)
def test_a_fault_that_stays_is_named_for_what_it_may_have_done(
    processor: StripeProcessor,
    sandbox: PlayAccount,
    kind: FaultKind,
    failure: type[Exception],
    happened: int,
) -> None:
    sandbox.fault(kind, CALL, times=99)

    with pytest.raises(failure):
        add(processor)

    assert len(made(sandbox)) == happened


def test_what_was_lost_is_found_done_when_it_is_asked_again_with_its_key(
    processor: StripeProcessor, sandbox: PlayAccount
) -> None:
    sandbox.fault(FaultKind.LOST_ANSWER, CALL, times=3)
    with pytest.raises(AnswerUnknown):
        add(processor)

    address = add(processor)

    assert made(sandbox) == [address.id]


def test_a_call_that_may_have_happened_is_not_undone_by_a_later_refusal_to_listen(
    processor: StripeProcessor, sandbox: PlayAccount
) -> None:
    sandbox.fault(FaultKind.LOST_ANSWER, CALL)
    sandbox.fault(FaultKind.RATE_LIMIT, CALL, times=99)

    with pytest.raises(AnswerUnknown):
        add(processor)

    assert len(made(sandbox)) == 1


def test_the_same_key_with_other_words_does_not_pass_for_a_refusal(
    processor: StripeProcessor, sandbox: PlayAccount
) -> None:
    add(processor)

    with pytest.raises(AnswerUnknown):
        processor.add_webhook("https://other.example", ("charge.failed",), key="acc_1:webhook")

    assert len(made(sandbox)) == 1


def test_a_second_thread_with_the_same_key_waits_for_the_first(
    processor: StripeProcessor, sandbox: PlayAccount
) -> None:
    sandbox.fault(FaultKind.SLOW, CALL, delay_s=0.5)
    answers: list[str] = []
    threads = [threading.Thread(target=lambda: answers.append(add(processor).id)) for _ in range(3)]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert answers == made(sandbox) * 3


def test_a_slow_answer_is_waited_for_no_longer_than_the_deadline(sandbox: PlayAccount) -> None:
    hasty = Patience(connect_s=0.5, read_s=0.3, deadline_s=0.8, pause_s=0.01)
    sandbox.fault(FaultKind.SLOW, CALL, delay_s=3, times=9)

    with closing(_processor(sandbox.url, hasty)) as processor:
        began = time.monotonic()
        with pytest.raises(AnswerUnknown):
            add(processor)

    assert time.monotonic() - began < 1.5


def test_a_port_where_nobody_listens_is_surely_not_reached() -> None:
    nobody = _processor(f"http://{LOOPBACK}:{free_port()}", PATIENCE)

    with closing(nobody), pytest.raises(NotReached):
        add(nobody)


def test_a_server_that_hangs_up_may_have_heard() -> None:
    with (
        _hanging_up() as (url, heard),
        closing(_processor(url, PATIENCE)) as processor,
        pytest.raises(AnswerUnknown),
    ):
        add(processor)

    assert len(heard) == 1 + PATIENCE.repeats_unknown
    keys = {line for one in heard for line in one.split(b"\r\n") if b"Idempotency-Key" in line}
    assert keys == {b"Idempotency-Key: acc_1:webhook"}


@pytest.mark.parametrize("status", [b"502 Bad Gateway", b"200 OK"])
def test_an_answer_that_is_not_stripes_may_mean_anything(status: bytes) -> None:
    page = b"HTTP/1.1 " + status + b"\r\nContent-Length: 6\r\nConnection: close\r\n\r\n<html>"

    with (
        _hanging_up(page) as (url, _),
        closing(_processor(url, PATIENCE)) as processor,
        pytest.raises(AnswerUnknown),
    ):
        add(processor)


def test_a_key_that_is_not_known_is_a_refusal(sandbox: PlayAccount) -> None:
    stranger = StripeProcessor(Access(secret_key="sk_wrong_key", base=sandbox.url), PATIENCE)

    with closing(stranger), pytest.raises(Refused) as refused:
        add(stranger)

    assert refused.value.code == "authentication"
    assert made(sandbox) == []


def _processor(url: str, patience: Patience) -> StripeProcessor:
    return StripeProcessor(Access(secret_key=SECRET_KEY, base=url), patience)


@contextmanager
def _hanging_up(answer: bytes = b"") -> Iterator[tuple[str, list[bytes]]]:
    """A server that reads one request, answers this, and closes; with what it heard."""
    heard: list[bytes] = []
    listener = socket.create_server((LOOPBACK, 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                heard.append(connection.recv(65_536))
                connection.sendall(answer)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://{LOOPBACK}:{listener.getsockname()[1]}", heard
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(timeout=5)
