"""However late, doubled or disordered the processor's views arrive, the end is the same: state, attempts, ledger.

That is said of ends: while an attempt runs, an old view may show it as waiting for its payer until its answer comes.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import count
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from control_plane.accounts.caller import Caller
from control_plane.accounts.permissions import Role
from control_plane.parts import Parts
from control_plane.till.queries import settings_of
from control_plane.transactions import queries as ledger
from control_plane.transactions.models import TRANSACTIONS
from control_plane.virtual_terminal import queries, settle
from control_plane.virtual_terminal.beginning import Try, begin
from control_plane.virtual_terminal.lifecycle import AttemptMethod, PaymentState
from control_plane.virtual_terminal.models import PAYMENTS
from control_plane.virtual_terminal.moves import RELEASED
from control_plane.virtual_terminal.processor import (
    Decline,
    Instrument,
    ProcessorCharge,
    ProcessorDispute,
    ProcessorPayment,
    ProcessorRefund,
    Settlement,
)
from control_plane.virtual_terminal.wishes import Again, Order
from protocols.money import Money
from tests.fixtures.control_plane import Factory

NOW = datetime(2026, 5, 4, 8, 0, tzinfo=UTC)
TEN = Money(10_00, "EUR")
CARD = Instrument(kind="card", brand="visa", last4="4242")
NUMBERS = count(1)

#: How a try can go, as the views that a reader of the intent would see one after the other.
ENDINGS = [
    ["paid"],
    ["action", "paid"],
    ["held", "paid"],
    ["held", "part"],
    ["held", "canceled"],
    ["processing", "paid"],
    ["action", "held", "paid"],
    ["canceled"],
]
REFUSALS = [
    ["refused"],
    ["action", "refused"],
    ["processing", "refused"],
    ["action", "not_confirmed"],
]
REFUNDS = [["succeeded"], ["pending", "succeeded"], ["succeeded", "failed"], ["pending", "failed"]]


@dataclass
class Story:
    """What happens at the processor, by try, and afterwards."""

    tries: list[list[str]]
    refunds: list[list[str]] = field(default_factory=list)
    number: str = ""

    def views(self, at: int) -> list[ProcessorPayment]:
        return [self._view(at, word) for word in self.tries[at]]

    def refund_views(self) -> list[ProcessorRefund]:
        return [
            ProcessorRefund(
                id=f"re_{self.number}_{place}",
                status=word,  # type: ignore[arg-type]  # one of its words
                amount=Money(1_00, "EUR"),
                payment_id=f"pi_{self.number}",
                charge_id=None,
                created_at=NOW,
                failure_reason="lost_or_stolen_card" if word == "failed" else None,
            )
            for place, words in enumerate(self.refunds)
            for word in words
        ]

    def _view(self, at: int, word: str) -> ProcessorPayment:
        charge_id = f"ch_{self.number}_{at}"
        decline = Decline(code="card_declined", message="No.", charge_id=charge_id)
        views: dict[str, dict[str, Any]] = {
            "refused": {
                "status": "requires_payment_method",
                "charge": self._charge(charge_id, "failed", decline=decline),
                "last_error": decline,
            },
            "not_confirmed": {
                "status": "requires_payment_method",
                "last_error": Decline(code=f"authentication_{at}", message="No."),
            },
            "action": {"status": "requires_action"},
            "processing": {
                "status": "processing",
                "charge": self._charge(charge_id, "pending"),
            },
            "held": {
                "status": "requires_capture",
                "capturable_minor": 10_00,
                "charge": self._charge(charge_id, "succeeded"),
            },
            "paid": {
                "status": "succeeded",
                "received_minor": 10_00,
                "charge": self._charge(charge_id, "succeeded", captured=10_00),
            },
            "part": {
                "status": "succeeded",
                "received_minor": 7_00,
                "charge": self._charge(charge_id, "succeeded", captured=7_00),
            },
            "canceled": {
                "status": "canceled",
                "cancellation_reason": "requested_by_customer",
                "charge": self._charge(charge_id, "succeeded")
                if "held" in self.tries[at]
                else None,
            },
            "waiting": {"status": "requires_payment_method"},
        }
        facts = views[word]
        return ProcessorPayment(
            **{
                "id": f"pi_{self.number}",
                "amount": TEN,
                "received_minor": 0,
                "capturable_minor": 0,
                "created_at": NOW,
                "livemode": False,
                **facts,
            }
        )

    def _charge(
        self, charge_id: str, status: Any, *, captured: int = 0, decline: Decline | None = None
    ) -> ProcessorCharge:
        return ProcessorCharge(
            id=charge_id,
            status=status,
            amount=TEN,
            captured=captured > 0,
            captured_minor=captured,
            refunded_minor=0,
            instrument=CARD,
            created_at=NOW,
            decline=decline,
        )


STORIES = st.builds(
    lambda refusals, ending, refunds: Story(
        [*refusals, ending], refunds if ending[-1] in {"paid", "part"} else []
    ),
    st.lists(st.sampled_from(REFUSALS), max_size=3),
    st.sampled_from(ENDINGS),
    st.lists(st.sampled_from(REFUNDS), max_size=2),
)


@dataclass(frozen=True, slots=True)
class Teller:
    """Plays stories to a database."""

    parts: Parts
    caller: Caller

    def told(self, story: Story, random: Random | None) -> tuple[Any, ...]:
        """What stands in the database after a story; in order, or as ``random`` disorders it."""
        number = f"{next(NUMBERS)}"
        mine = Story(story.tries, story.refunds, number)
        payment_id = self.begin(Order(amount=TEN), mine)
        seen: list[ProcessorPayment] = []
        for at in range(len(mine.tries)):
            if at:
                self.begin(Again(payment_id=payment_id), mine)
            views = mine.views(at)
            seen += views
            for view in views if random is None else _some(random, seen, views[-1]):
                self.apply(view)
        last: list[ProcessorPayment | ProcessorRefund] = [*seen, *mine.refund_views()]
        if random is not None:
            last += random.choices(last, k=len(last))
            random.shuffle(last)
            # A refund is only heard of after its sale.
            last = [mine.views(len(mine.tries) - 1)[-1], *last]
        else:
            last = [*mine.refund_views()]
        for one in last:
            self.apply(one)
        return self.found(payment_id, number)

    def begin(self, order: Order | Again, story: Story) -> str:
        with self.parts.database.connection() as db:
            till = settings_of(db, self.caller.merchant_id)
            begun = begin(db, self.caller, order, Try(method=AttemptMethod.KEYED), till)
            if isinstance(order, Order):
                first = Story([["waiting"]], number=story.number).views(0)[0]
                payment = queries.lock_payment(db, self.caller.merchant_id, begun.payment.id)
                assert payment is not None
                settle.set_payment(db, payment, processor_id=first.id)
            return str(begun.payment.id)

    def apply(self, view: ProcessorPayment | ProcessorRefund) -> None:
        with self.parts.database.connection() as db:
            if isinstance(view, ProcessorRefund):
                settle.apply_refund(db, self.caller.merchant_id, view)
            else:
                settle.apply_snapshot(db, self.caller.merchant_id, view)

    def found(self, payment_id: str, number: str) -> tuple[Any, ...]:
        with self.parts.database.reading_connection() as db:
            row = db.execute(select(PAYMENTS).where(PAYMENTS.c.id == payment_id)).one()
            attempts = queries.attempts(db, self.caller.scope, payment_id)
            rows = db.execute(
                select(TRANSACTIONS).where(TRANSACTIONS.c.payment_id == payment_id)
            ).all()
        return (
            (row.state, row.captured_minor, row.authorized_minor, row.refunded_minor),
            (_plain(row.charge_id, number), row.card_last4),
            [(one.number, one.state, one.code, _plain(one.charge_id, number)) for one in attempts],
            sorted(
                (one.kind, one.status, _plain(one.external_id, number), one.amount_minor)
                for one in rows
            ),
        )


def _plain(text: str | None, number: str) -> str | None:
    return None if text is None else text.replace(f"_{number}_", "_")


def _some(random: Random, seen: list[Any], needed: Any) -> list[Any]:
    """Views in any order, doubled and left out, with the one that lets the story go on among them."""
    chosen = random.choices(seen, k=random.randint(0, len(seen) + 1))
    chosen.insert(random.randint(0, len(chosen)), needed)
    return chosen


@pytest.fixture
def teller(parts: Parts, make: Factory) -> Teller:
    return Teller(parts, make.caller(make.merchant(), Role.OWNER))


@pytest.fixture
def sqlite_teller(sqlite_parts: Parts, sqlite_make: Factory) -> Teller:
    return Teller(sqlite_parts, sqlite_make.caller(sqlite_make.merchant(), Role.OWNER))


# Each example has a payment of its own in the one database.
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(story=STORIES, random=st.randoms(use_true_random=False))
def test_any_order_and_repetition_ends_in_the_same_state(
    sqlite_teller: Teller, story: Story, random: Random
) -> None:
    expected = sqlite_teller.told(story, None)

    assert sqlite_teller.told(story, random) == expected


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(story=STORIES, random=st.randoms(use_true_random=False))
def test_it_does_so_on_either_database(teller: Teller, story: Story, random: Random) -> None:
    expected = teller.told(story, None)

    assert teller.told(story, random) == expected


def test_an_intent_that_began_elsewhere_becomes_a_payment_once(teller: Teller) -> None:
    story = Story([["paid"]], number="elsewhere")

    for _ in range(3):
        teller.apply(story.views(0)[0])

    with teller.parts.database.reading_connection() as db:
        [view] = queries.recent(db, teller.caller.scope)
        rows = db.execute(select(TRANSACTIONS)).all()
    assert (view.state, view.cashier_id, view.captured_minor) == (
        PaymentState.PAID,
        "stripe",
        10_00,
    )
    assert len(rows) == 1
    assert rows[0].channel.value == "online"


def test_money_on_an_intent_that_was_left_is_never_overlooked(teller: Teller) -> None:
    story = Story([["action"]], number="left")
    payment_id = teller.begin(Order(amount=TEN), story)
    canceled = Story([["canceled"]], number="left").views(0)[0]
    released = replace(canceled, cancellation_reason=RELEASED)
    teller.apply(story.views(0)[0])
    teller.apply(released)
    teller.begin(Again(payment_id=payment_id), story)
    mine = {"payment": payment_id}
    other = replace(Story([["paid"]], number="other").views(0)[0], metadata=mine)
    teller.apply(other)

    late = replace(Story([["paid"]], number="late").views(0)[0], metadata=mine)
    teller.apply(late)
    teller.apply(late)

    with teller.parts.database.reading_connection() as db:
        view = queries.payment(db, teller.caller.scope, payment_id)
        kinds = [one.kind.value for one in queries.moments(db, teller.caller.scope, payment_id)]
        rows = db.execute(select(TRANSACTIONS)).all()
    assert view.state is PaymentState.PAID
    assert kinds.count("second_charge") == 1
    assert sorted(row.external_id for row in rows) == ["ch_late_0", "ch_other_0"]


def test_fees_that_come_later_are_kept_beside_the_row(teller: Teller) -> None:
    story = Story([["paid"]], number="fee")
    teller.begin(Order(amount=TEN), story)
    first = story.views(0)[0]
    teller.apply(first)
    settlement = Settlement(
        id="txn_1",
        amount=Money(11_00, "USD"),
        fee_minor=62,
        net_minor=10_38,
        rate="1.1",
        available_on=NOW,
    )
    assert first.charge is not None
    later = replace(first, charge=replace(first.charge, settlement=settlement))

    for _ in range(2):
        teller.apply(later)

    with teller.parts.database.reading_connection() as db:
        [row] = ledger.transactions(db, teller.caller.scope, ledger.TransactionFilter())
    assert (row.fee_minor, row.settlement_amount_minor, row.settlement_currency) == (
        62,
        11_00,
        "USD",
    )


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(random=st.randoms(use_true_random=False), ending=st.sampled_from(["won", "lost"]))
def test_a_dispute_told_in_any_order_ends_the_same(
    sqlite_teller: Teller, random: Random, ending: str
) -> None:
    def told(disorder: Random | None) -> tuple[Any, ...]:
        number = f"{next(NUMBERS)}"
        story = Story([["paid"]], number=number)
        payment_id = sqlite_teller.begin(Order(amount=TEN), story)
        sqlite_teller.apply(story.views(0)[0])
        views = _disputes(number, ending)
        order = list(views) if disorder is None else _some(disorder, views, views[-1]) + views
        if disorder is not None:
            disorder.shuffle(order)
        for view in order:
            with sqlite_teller.parts.database.connection() as db:
                settle.apply_dispute(db, sqlite_teller.caller.merchant_id, view)
        with sqlite_teller.parts.database.reading_connection() as db:
            [found] = queries.disputes(db, sqlite_teller.caller.scope, payment_id=payment_id)
        return found.status, sqlite_teller.found(payment_id, number)

    assert told(random) == told(None)


def _disputes(number: str, ending: str) -> list[ProcessorDispute]:
    taken = Settlement(
        id="txn_a", amount=Money(-10_00, "EUR"), fee_minor=15_00, net_minor=-25_00, rate=None,
        available_on=None,
    )  # fmt: skip
    back = Settlement(
        id="txn_b", amount=Money(10_00, "EUR"), fee_minor=0, net_minor=10_00, rate=None,
        available_on=None,
    )  # fmt: skip
    words: list[tuple[str, tuple[Settlement, ...]]] = [
        ("needs_response", (taken,)),
        ("under_review", (taken,)),
        (ending, (taken, back) if ending == "won" else (taken,)),
    ]
    return [
        ProcessorDispute(
            id=f"dp_{number}_0",
            charge_id=f"ch_{number}_0",
            payment_id=f"pi_{number}",
            amount=TEN,
            reason="fraudulent",
            status=status,
            due_by=NOW,
            has_evidence=False,
            created_at=NOW,
            movements=movements,
        )
        for status, movements in words
    ]
