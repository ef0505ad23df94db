"""Starting, claiming, following and ending a payment, on both databases."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import event, select

from control_plane.accounts.permissions import Role
from control_plane.audit.service import EVENTS as AUDIT
from control_plane.devices.lifecycle import DeviceState
from control_plane.errors import Forbidden, NotFound
from control_plane.payments.commands import due_commands, pending_commands
from control_plane.payments.deadlines import declare_silent, expire_due
from control_plane.payments.errors import (
    AmountRefused,
    AnswerLost,
    NotReversible,
    ReaderBusy,
    ReaderNotReady,
    ReaderOffline,
    ReaderSuspended,
    SessionDecided,
)
from control_plane.payments.events import AnswerLost as AnswerLostEvent
from control_plane.payments.events import LateResult
from control_plane.payments.events import SessionDecided as Decided
from control_plane.payments.lifecycle import CommandState
from control_plane.payments.reports import ReportedResult, apply_results
from control_plane.payments.sessions import cancel_session, start_reversal
from control_plane.payments.views import SessionView
from protocols.cloud.commands import CancelPayment, ReversePayment, StartPayment
from protocols.cloud.events import PaymentResult
from protocols.money import Money
from protocols.session import SessionState
from tests.integration.control_plane.payments.conftest import (
    CASHIER,
    DEVICE,
    MANAGER,
    OTHER_READER,
    READER,
    Shop,
    caller_of,
)

S = SessionState


def cancel(shop: Shop, session: SessionView) -> SessionView:
    with shop.database.connection() as db:
        return cancel_session(db, CASHIER, session.id)


def sent_to_device(shop: Shop) -> list[Any]:
    """Bodies that a publisher would send now."""
    with shop.database.connection() as db:
        return [one.command.body for one in due_commands(db, shop.clock.now())]


def audited(shop: Shop) -> list[str]:
    with shop.database.reading_connection() as db:
        return list(db.execute(select(AUDIT.c.tag).order_by(AUDIT.c.seq)).scalars())


# --- starting ----------------------------------------------------------------------------------------------


def test_a_started_payment_is_recorded_promised_to_the_device_and_announced(shop: Shop) -> None:
    session = shop.start(12_34, caller=CASHIER, reference="order 1042")

    assert (session.state, session.amount) == (S.CREATED, Money(12_34, "EUR"))
    assert (session.reader_name, session.cashier_name) == ("Counter 1", "Cashier")
    assert shop.session(session.id) == session
    assert shop.kinds(session.id) == ["created"]
    assert sent_to_device(shop) == [
        StartPayment(
            session_id=session.id,
            reader_id=READER,
            amount_minor=12_34,
            currency="EUR",
            reference="order 1042",
            cashier_id="usr_cashier",
        )
    ]
    assert audited(shop) == ["payment:session:create"]
    assert set(shop.topics()) == {"commands", f"session:{session.id}", "merchant:mer_1:sessions"}


@pytest.mark.parametrize("minor", [0, -1, 100_000_001])
def test_an_amount_that_no_tap_should_have_is_refused(shop: Shop, minor: int) -> None:
    with pytest.raises(AmountRefused) as refused:
        shop.start(minor)

    assert refused.value.facts["field"] == "amount_minor"
    assert shop.sessions() == []
    assert sent_to_device(shop) == []
    assert shop.announcements.sent == []


@pytest.mark.parametrize(
    ("device", "reader", "error", "words"),
    [
        ({"is_online": False}, {}, ReaderOffline, "Counter 1 is offline"),
        ({}, {"state": "disconnected"}, ReaderOffline, "Counter 1 is offline"),
        ({}, {"state": "failing"}, ReaderNotReady, "Counter 1 is failing"),
        ({}, {"state": "unidentified"}, ReaderNotReady, "Counter 1 is unidentified"),
        ({"state": DeviceState.SUSPENDED}, {}, ReaderSuspended, "a device that is suspended"),
        ({"state": DeviceState.REVOKED}, {}, ReaderSuspended, "a device that is revoked"),
    ],
    ids=["device away", "unplugged", "failing", "unidentified", "suspended", "revoked"],
)
def test_a_reader_that_cannot_take_a_payment_is_refused_in_words(
    shop: Shop, device: dict[str, Any], reader: dict[str, Any], error: type[Any], words: str
) -> None:
    if device:
        shop.change_device(**device)
    if reader:
        shop.change_reader(**reader)
    shop.announcements.sent.clear()

    with pytest.raises(error, match=words):
        shop.start()

    assert shop.sessions() == []
    assert shop.commands() == []
    assert shop.announcements.sent == []


def test_a_reader_that_its_device_no_longer_lists_is_offline(shop: Shop) -> None:
    shop.change_reader(gone_at=shop.clock.now())

    with pytest.raises(ReaderOffline):
        shop.start()


@pytest.mark.parametrize(
    "stranger",
    [
        caller_of(Role.OWNER, merchant_id="mer_2"),
        caller_of(Role.OWNER, location_ids=frozenset({"loc_2"})),
    ],
    ids=["another merchant", "another location"],
)
def test_a_reader_out_of_reach_does_not_exist(shop: Shop, stranger: Any) -> None:
    with pytest.raises(NotFound):
        shop.start(caller=stranger)

    assert shop.sessions() == []


def test_a_second_payment_on_a_busy_reader_is_refused_and_names_the_first(shop: Shop) -> None:
    first = shop.start()

    with pytest.raises(ReaderBusy) as refused:
        shop.start()

    assert refused.value.facts["session_id"] == first.id
    assert [one.id for one in shop.sessions()] == [first.id]
    assert len(shop.commands()) == 1


def test_another_reader_is_free_meanwhile(shop: Shop) -> None:
    shop.start()

    assert shop.start(reader_id=OTHER_READER).state is S.CREATED


def test_the_reader_is_free_again_after_the_end(shop: Shop) -> None:
    shop.approved()

    assert shop.start().state is S.CREATED


def test_the_reader_stays_taken_while_the_answer_is_lost(shop: Shop) -> None:
    session = shop.started()
    shop.step(session, "unknown")

    with pytest.raises(ReaderBusy):
        shop.start()


def test_a_refund_needs_the_right_to_refund(shop: Shop) -> None:
    with pytest.raises(Forbidden):
        shop.start(kind="refund", caller=CASHIER)
    session = shop.start(kind="refund", caller=MANAGER)

    assert session.kind == "refund"
    (body,) = sent_to_device(shop)
    assert body.transaction == "refund"
    assert len(shop.sessions()) == 1


# --- sending -----------------------------------------------------------------------------------------------


def test_a_command_is_sent_again_with_less_and_less_time_until_it_is_claimed(shop: Shop) -> None:
    session = shop.start()
    lives = []
    for _ in range(4):
        with shop.database.connection() as db:
            lives += [one.command.ttl_ms for one in due_commands(db, shop.clock.now())]
        shop.wait(1.0)
    shop.claim(session)
    shop.wait(5)

    assert lives == [10_000, 8_000]
    assert sent_to_device(shop) == []
    assert shop.command(session.command_id).attempts == 2


def test_a_command_is_not_sent_after_its_expiry(shop: Shop) -> None:
    shop.start()
    shop.wait(10)

    assert sent_to_device(shop) == []


def test_a_device_that_asks_gets_what_it_has_not_answered(shop: Shop) -> None:
    session = shop.start()
    sent_to_device(shop)

    with shop.database.connection() as db:
        asked = pending_commands(db, DEVICE, shop.clock.now())
        other = pending_commands(db, "dev-other", shop.clock.now())

    assert [one.command.id for one in asked] == [session.command_id]
    assert other == []


# --- claiming ----------------------------------------------------------------------------------------------


def test_the_first_claim_gets_the_lease_and_the_session_moves(shop: Shop) -> None:
    session = shop.start()
    shop.wait(1)

    grant = shop.claim(session)

    assert (grant.granted, grant.lease_ms, grant.reason) == (True, 2_000, "")
    claimed = shop.session(session.id)
    assert (claimed.state, claimed.claimed_at) == (S.CLAIMED, shop.clock.now())
    assert shop.command(session.command_id).state is CommandState.CLAIMED
    assert shop.kinds(session.id) == ["created", "claimed"]


def test_the_lease_ends_with_the_command_at_the_latest(shop: Shop) -> None:
    session = shop.start()
    shop.wait(9.5)

    assert shop.claim(session).lease_ms == 500


def test_the_same_nonce_is_granted_again_with_what_is_left(shop: Shop) -> None:
    session = shop.start()
    first = shop.claim(session)
    again = shop.claim(session)
    shop.wait(1.5)
    later = shop.claim(session)
    shop.wait(0.5)
    too_late = shop.claim(session)

    assert first == again
    assert (later.granted, later.lease_ms) == (True, 500)
    assert (too_late.granted, too_late.reason) == (False, "expired")
    assert shop.kinds(session.id) == ["created", "claimed"]


def test_another_nonce_comes_too_late(shop: Shop) -> None:
    session = shop.start()
    shop.claim(session)

    grant = shop.claim(session, nonce="nonce-0002")

    assert (grant.granted, grant.lease_ms, grant.reason) == (False, 0, "already_claimed")


def test_a_claim_at_the_expiry_is_refused(shop: Shop) -> None:
    session = shop.start()
    shop.wait(10)

    grant = shop.claim(session)

    assert (grant.granted, grant.reason) == (False, "expired")
    assert shop.session(session.id).state is S.CREATED


def test_a_claim_after_the_cancel_is_refused(shop: Shop) -> None:
    session = shop.start()
    cancel(shop, session)

    grant = shop.claim(session)

    assert (grant.granted, grant.reason) == (False, "cancelled")
    assert shop.session(session.id).state is S.CANCELLED


@pytest.mark.parametrize("device_id", ["dev-other", ""])
def test_a_command_of_another_device_is_unknown_to_this_one(shop: Shop, device_id: str) -> None:
    session = shop.start()

    grant = shop.claim(session, device_id=device_id)

    assert (grant.granted, grant.reason) == (False, "unknown_command")
    assert shop.session(session.id).state is S.CREATED


@pytest.mark.parametrize("state", [DeviceState.SUSPENDED, DeviceState.REVOKED, DeviceState.RETIRED])
def test_a_device_that_may_not_speak_gets_no_lease(shop: Shop, state: DeviceState) -> None:
    session = shop.start()
    shop.change_device(state=state)

    grant = shop.claim(session)

    assert (grant.granted, grant.reason) == (False, "suspended")
    assert shop.session(session.id).state is S.CREATED
    assert shop.command(session.command_id).state is CommandState.ISSUED


# --- steps and results -------------------------------------------------------------------------------------


def test_a_sale_is_followed_step_by_step_to_its_approval(shop: Shop) -> None:
    session = shop.start()
    shop.claim(session)
    shop.step(session, "accepted", "sent", "waiting_for_card", "card_seen", "enter_pin")
    shop.step(session, "authorizing")
    transaction_id = shop.result(
        session,
        "approved",
        authorization_code="A1",
        receipt_number=17,
        masked_pan="541333******0012",
    )

    decided = shop.session(session.id)
    assert (decided.state, decided.transaction_id) == (S.APPROVED, transaction_id)
    assert (decided.approved_minor, decided.authorization_code, decided.receipt_number) == (
        12_34,
        "A1",
        17,
    )
    assert [(one.kind, one.state) for one in shop.steps(session.id)] == [
        ("created", "created"),
        ("claimed", "claimed"),
        ("accepted", "claimed"),
        ("sent", "sent"),
        ("waiting_for_card", "waiting_for_card"),
        ("card_seen", "card_seen"),
        ("enter_pin", "card_seen"),
        ("authorizing", "authorizing"),
        ("approved", "approved"),
    ]
    assert shop.events == [
        Decided(session.id, "mer_1", S.APPROVED, Money(12_34, "EUR"), transaction_id)
    ]


@pytest.mark.parametrize("outcome", ["declined", "cancelled", "failed"])
def test_other_outcomes_end_the_session_without_money(shop: Shop, outcome: str) -> None:
    session = shop.started()
    shop.result(session, outcome, result_code=5, result_text="Do not honour")

    decided = shop.session(session.id)
    assert decided.state == outcome
    assert (decided.approved_minor, decided.result_code) == (None, 5)
    assert not decided.late_result


def test_a_step_out_of_order_stays_in_the_timeline_and_moves_nothing(shop: Shop) -> None:
    session = shop.started()
    shop.step(session, "authorizing", "waiting_for_card")

    assert shop.session(session.id).state is S.AUTHORIZING
    assert shop.kinds(session.id)[-2:] == ["authorizing", "waiting_for_card"]


@pytest.mark.parametrize("what", ["step", "result", "command_result"])
def test_the_word_of_another_device_changes_nothing_but_the_alarm(shop: Shop, what: str) -> None:
    session = shop.started()
    before = shop.session(session.id)

    if what == "step":
        shop.step(session, "authorizing", device_id="dev-other")
    elif what == "result":
        shop.result(session, "declined", device_id="dev-other")
    else:
        shop.command_result(session.command_id, "too_late", device_id="dev-other")

    after = shop.session(session.id)
    assert (after.state, after.explanation) == (before.state, before.explanation)
    assert [type(one) for one in shop.events] == ([LateResult] if what == "result" else [])


def test_a_thousand_results_without_a_session_are_taken_with_one_query(shop: Shop) -> None:
    batch = [
        ReportedResult(
            DEVICE,
            "mer_1",
            f"tx_{number}",
            shop.clock.now(),
            PaymentResult(
                session_id=f"ts_local_{number}",
                reader_id=READER,
                kind="sale",
                outcome="approved",
                amount_minor=1,
                currency="EUR",
                decided_by="answer",
            ),
        )
        for number in range(1000)
    ]
    statements: list[str] = []
    with shop.database.connection() as db:
        event.listen(db, "before_cursor_execute", lambda *call: statements.append(call[2]))
        apply_results(db, batch)

    assert len(statements) == 1


# --- lost answers ------------------------------------------------------------------------------------------


def test_a_lost_answer_makes_the_session_unknown_and_says_why(shop: Shop) -> None:
    session = shop.started()
    shop.step(session, "unknown", "recalling")

    lost = shop.session(session.id)
    assert (lost.state, lost.can_cancel) == (S.UNKNOWN, False)
    assert "not known whether the card was charged" in lost.explanation
    assert shop.events == [AnswerLostEvent(session.id, "mer_1")]


@pytest.mark.parametrize(("outcome", "state"), [("approved", S.APPROVED), ("failed", S.FAILED)])
def test_evidence_settles_a_lost_answer_later_and_is_explained(
    shop: Shop, outcome: str, state: SessionState
) -> None:
    session = shop.started()
    shop.step(session, "unknown")
    shop.wait(3600)
    shop.result(
        session, outcome, decided_by="recall", explanation="The reader's last receipt shows it."
    )

    decided = shop.session(session.id)
    assert (decided.state, decided.decided_by) == (state, "recall")
    assert decided.explanation == "The reader's last receipt shows it."


def test_a_silent_device_makes_the_session_unknown_after_the_card_time_and_some(shop: Shop) -> None:
    session = shop.started(card_timeout_s=60)
    shop.step(session, "waiting_for_card")
    shop.wait(104)
    with shop.database.connection() as db:
        early = declare_silent(db)
    shop.wait(1)
    with shop.database.connection() as db:
        late = declare_silent(db)

    assert (early, late) == (0, 1)
    silent = shop.session(session.id)
    assert silent.state is S.UNKNOWN
    assert silent.explanation.startswith(
        "Nothing was heard from the device for 105 s after the reader asked for the card"
    )
    with shop.database.connection() as db:
        assert declare_silent(db) == 0


def test_a_device_that_is_known_to_be_gone_is_given_less_time(shop: Shop) -> None:
    session = shop.started()
    shop.change_device(is_online=False)
    shop.wait(21)

    with shop.database.connection() as db:
        declare_silent(db)

    assert shop.session(session.id).state is S.UNKNOWN


def test_any_step_shows_that_the_device_is_not_silent(shop: Shop) -> None:
    session = shop.started()
    for _ in range(5):
        shop.wait(60)
        shop.step(session, "waiting_for_card")
        with shop.database.connection() as db:
            declare_silent(db)

    assert shop.session(session.id).state is S.WAITING_FOR_CARD


# --- expiry ------------------------------------------------------------------------------------------------


def test_what_nobody_claims_expires_and_frees_the_reader(shop: Shop) -> None:
    session = shop.start()
    shop.wait(9.9)
    with shop.database.connection() as db:
        early = expire_due(db)
    shop.wait(0.1)
    with shop.database.connection() as db:
        late = expire_due(db)

    assert (early, late) == (0, 1)
    expired = shop.session(session.id)
    assert (expired.state, expired.decided_by) == (S.EXPIRED, "server")
    assert expired.explanation == (
        "The device did not take the payment within 10 s, so it never began. Nobody was charged."
    )
    assert shop.command(session.command_id).state is CommandState.EXPIRED
    assert shop.claim(session).reason == "expired"
    assert shop.start().state is S.CREATED


def test_what_was_claimed_never_expires(shop: Shop) -> None:
    session = shop.started()
    shop.wait(30)

    with shop.database.connection() as db:
        assert expire_due(db) == 0

    assert shop.session(session.id).state is S.SENT


# --- cancelling --------------------------------------------------------------------------------------------


def test_a_cancel_before_the_claim_wins_at_once(shop: Shop) -> None:
    session = shop.start()

    cancelled = cancel(shop, session)

    assert (cancelled.state, cancelled.decided_by) == (S.CANCELLED, "server")
    assert sent_to_device(shop) == []
    assert shop.command(session.command_id).state is CommandState.CANCELLED
    assert audited(shop) == ["payment:session:create", "payment:session:cancel"]
    assert shop.start().state is S.CREATED


def test_a_cancel_after_the_claim_asks_the_device_once(shop: Shop) -> None:
    session = shop.started()

    first, second = cancel(shop, session), cancel(shop, session)

    assert first.state is second.state is S.CANCELLING
    assert sent_to_device(shop) == [CancelPayment(session_id=session.id)]
    assert shop.kinds(session.id).count("cancel_asked") == 1


@pytest.mark.parametrize(
    ("outcome", "state"), [("cancelled", S.CANCELLED), ("approved", S.APPROVED)]
)
def test_the_reader_decides_who_won_after_a_late_cancel(
    shop: Shop, outcome: str, state: SessionState
) -> None:
    session = shop.started()
    cancel(shop, session)
    shop.step(session, "card_seen", "cancelling")

    shop.result(session, outcome, cancel_asked=True)

    assert shop.session(session.id).state is state
    assert not shop.session(session.id).late_result


def test_a_decided_payment_cannot_be_cancelled(shop: Shop) -> None:
    session = shop.approved()

    with pytest.raises(SessionDecided, match="already approved"):
        cancel(shop, session)

    assert shop.session(session.id).state is S.APPROVED
    assert shop.commands()[0].kind == "payment.start"


def test_a_lost_answer_cannot_be_cancelled(shop: Shop) -> None:
    session = shop.started()
    shop.step(session, "unknown")

    with pytest.raises(AnswerLost, match="do not charge again"):
        cancel(shop, session)

    assert [one.kind for one in shop.commands()] == ["payment.start"]


def test_a_cancel_by_someone_out_of_reach_is_refused(shop: Shop) -> None:
    session = shop.start()
    stranger = caller_of(Role.OWNER, merchant_id="mer_2")

    with pytest.raises(NotFound), shop.database.connection() as db:
        cancel_session(db, stranger, session.id)

    assert shop.session(session.id).state is S.CREATED


# --- what the device refuses -------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["rejected", "refused", "too_late", "expired"])
def test_a_claimed_payment_that_the_device_did_not_begin_has_failed(
    shop: Shop, status: str
) -> None:
    session = shop.start()
    shop.claim(session)
    shop.command_result(session.command_id, status, code="lease_over", text="The lease was over.")

    ended = shop.session(session.id)
    assert (ended.state, ended.decided_by) == (S.FAILED, "not_begun")
    assert ended.explanation == "The reader was not asked: The lease was over. Nobody was charged."
    assert shop.command(session.command_id).state == status


@pytest.mark.parametrize(("status", "state"), [("rejected", S.FAILED), ("expired", S.EXPIRED)])
def test_an_unclaimed_payment_that_the_device_turns_down_ends(
    shop: Shop, status: str, state: SessionState
) -> None:
    session = shop.start()
    shop.command_result(session.command_id, status, code="unknown_field")

    assert shop.session(session.id).state is state
    assert shop.claim(session).granted is False


def test_a_device_that_said_the_reader_had_the_amount_cannot_take_that_back(shop: Shop) -> None:
    session = shop.started()
    shop.command_result(session.command_id, "too_late", code="lease_over")

    assert shop.session(session.id).state is S.SENT


def test_the_end_of_the_command_does_not_decide_about_money(shop: Shop) -> None:
    session = shop.started()
    shop.command_result(session.command_id, "succeeded")

    assert shop.session(session.id).state is S.SENT
    assert shop.command(session.command_id).state is CommandState.SUCCEEDED


def test_a_result_completes_the_end_that_was_already_known(shop: Shop) -> None:
    session = shop.start()
    shop.claim(session)
    shop.command_result(session.command_id, "refused", code="reader_busy")
    transaction_id = shop.result(session, "failed", decided_by="not_begun")

    ended = shop.session(session.id)
    assert (ended.state, ended.transaction_id, ended.late_result) == (
        S.FAILED,
        transaction_id,
        False,
    )


def test_a_cancel_that_came_before_the_reader_was_asked_has_won(shop: Shop) -> None:
    session = shop.start()
    shop.claim(session)
    cancel(shop, session)
    shop.command_result(session.command_id, "refused", code="cancelled", text="Cancelled.")

    assert shop.session(session.id).state is S.CANCELLED


@pytest.mark.parametrize("outcome", ["cancelled", "failed", "declined"])
def test_two_words_for_an_end_without_money_raise_no_alarm(shop: Shop, outcome: str) -> None:
    session = shop.start()
    shop.claim(session)
    shop.command_result(session.command_id, "refused", code="reader_busy")
    transaction_id = shop.result(session, outcome, decided_by="not_begun")

    ended = shop.session(session.id)
    assert (ended.state, ended.transaction_id) == (S.FAILED, transaction_id)
    assert not ended.late_result
    assert [type(one) for one in shop.events] == [Decided]


# --- late results ------------------------------------------------------------------------------------------


def test_an_approval_after_the_end_is_kept_beside_the_session_and_raises_an_alarm(
    shop: Shop,
) -> None:
    session = shop.start()
    cancel(shop, session)
    shop.events.clear()
    transaction_id = shop.result(session, "approved")

    late = shop.session(session.id)
    assert (late.state, late.late_result, late.transaction_id) == (
        S.CANCELLED,
        True,
        transaction_id,
    )
    assert shop.kinds(session.id)[-1] == "late_result"
    (alarm,) = shop.events
    assert alarm == LateResult(
        session.id,
        "mer_1",
        DEVICE,
        transaction_id,
        "approved",
        "the payment had already ended as cancelled",
    )


def test_an_approval_of_another_amount_is_never_taken_for_this_payment(shop: Shop) -> None:
    session = shop.started(12_34)
    shop.result(session, "approved", amount_minor=99_99)

    odd = shop.session(session.id)
    assert (odd.state, odd.late_result, odd.approved_minor) == (S.UNKNOWN, True, None)
    assert "not what was asked" in odd.explanation
    assert [type(one) for one in shop.events] == [LateResult]
    assert shop.start().state is S.CREATED


def test_a_part_approval_is_taken_with_its_amount(shop: Shop) -> None:
    session = shop.started(12_34)
    shop.result(session, "approved", amount_minor=10_00)

    assert shop.session(session.id).approved_minor == 10_00
    assert shop.events[-1].amount == Money(10_00, "EUR")  # type: ignore[attr-defined]  # a Decided


def test_an_approval_without_a_claim_is_an_alarm(shop: Shop) -> None:
    session = shop.start()
    shop.result(session, "approved")

    assert (shop.session(session.id).state, shop.session(session.id).late_result) == (
        S.CREATED,
        True,
    )


# --- taking back -------------------------------------------------------------------------------------------


def test_an_approved_sale_is_taken_back_on_its_reader_by_the_receipt_number(shop: Shop) -> None:
    sale = shop.approved(12_34)
    with shop.database.connection() as db:
        reversal = start_reversal(db, MANAGER, sale.id)

    assert (reversal.kind, reversal.original_session_id) == ("reversal", sale.id)
    assert reversal.original_transaction_id == sale.transaction_id
    assert sent_to_device(shop) == [
        ReversePayment(
            session_id=reversal.id,
            original_session_id=sale.id,
            reader_id=READER,
            receipt_number=17,
            amount_minor=12_34,
            currency="EUR",
        )
    ]


def test_a_sale_is_taken_back_once(shop: Shop) -> None:
    sale = shop.approved()
    with shop.database.connection() as db:
        reversal = start_reversal(db, MANAGER, sale.id)
    shop.claim(reversal)
    shop.result(reversal, "approved")

    with pytest.raises(NotReversible, match=reversal.id), shop.database.connection() as db:
        start_reversal(db, MANAGER, sale.id)

    assert len(shop.sessions()) == 2


def test_a_reversal_that_failed_may_be_tried_again(shop: Shop) -> None:
    sale = shop.approved()
    with shop.database.connection() as db:
        reversal = start_reversal(db, MANAGER, sale.id)
    shop.claim(reversal)
    shop.result(reversal, "failed")

    with shop.database.connection() as db:
        assert start_reversal(db, MANAGER, sale.id).state is S.CREATED


@pytest.mark.parametrize("outcome", ["declined", "cancelled"])
def test_what_moved_no_money_cannot_be_taken_back(shop: Shop, outcome: str) -> None:
    sale = shop.started()
    shop.result(sale, outcome, receipt_number=3)

    with pytest.raises(NotReversible, match=outcome), shop.database.connection() as db:
        start_reversal(db, MANAGER, sale.id)

    assert len(shop.sessions()) == 1


def test_a_cashier_takes_nothing_back(shop: Shop) -> None:
    sale = shop.approved()

    with pytest.raises(Forbidden), shop.database.connection() as db:
        start_reversal(db, CASHIER, sale.id)

    assert len(shop.sessions()) == 1
