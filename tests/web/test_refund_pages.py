"""Giving money back on the page of a transaction, and a second person who decides."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import pytest
from starlette.testclient import TestClient

from control_plane.accounts.caller import Caller
from control_plane.accounts.permissions import Role
from control_plane.till import queries as till
from control_plane.till import service
from control_plane.till.limits import MemberLimits
from control_plane.till.values import TillField
from control_plane.virtual_terminal import queries
from control_plane.virtual_terminal.desk import Desk
from control_plane.virtual_terminal.lifecycle import PaymentState, RefundState
from control_plane.virtual_terminal.models import DISPUTES, PAYMENTS
from control_plane.virtual_terminal.views import PaymentView, RefundView
from control_plane.virtual_terminal.wishes import ChargeWish, Order
from protocols.money import Money
from tests.fixtures.virtual_terminal import Connected
from tests.support.play_account import DECLINED, DISPUTED, VISA

PRICE = Money(60_00, "USD")
ITEMS = (
    {"name": "Chair", "quantity": 3, "unit_minor": 15_00, "tax_rate": None, "total_minor": 45_00},
    {"name": "Lamp", "quantity": 1, "unit_minor": 15_00, "tax_rate": "20", "total_minor": 15_00},
)


@dataclass
class Shop:
    """A connected merchant, its people and their browsers."""

    connected: Connected
    cashier: Caller
    owner: Caller

    def charge(self, number: str = VISA, *, amount: Money = PRICE, **facts: Any) -> PaymentView:
        wish = ChargeWish(
            order=Order(amount=amount, confirm_duplicate=True, **facts),
            method="keyed",
            token=self.connected.sandbox.token(number),
            hint_last4=number[-4:],
        )
        return self.connected.parts.get(Desk).charge(self.cashier, wish)

    def browser(self, role: Role, **limits: Any) -> TestClient:
        """Somebody with this role, perhaps with limits of their own."""
        make, merchant = self.connected.make, self.connected.merchant_id
        user_id = make.user(merchant, role)
        if limits:
            with self.connected.parts.database.transaction() as db:
                service.set_limits(db, self.owner, user_id, MemberLimits(**limits))
        return make.client_of(user_id, merchant)

    def limit_refunds(self, minor: int) -> None:
        """Above it, a refund waits."""
        with self.connected.parts.database.transaction() as db:
            present = till.settings_of(db, self.connected.merchant_id)
            wanted = replace(present, refund_limits={"USD": minor})
            service.update_settings(db, self.owner, wanted)

    def refunds(self, payment_id: str) -> list[RefundView]:
        with self.connected.parts.database.reading_connection() as db:
            return queries.refunds_of(db, self.owner.scope, payment_id)

    def payment(self, payment_id: str) -> PaymentView:
        with self.connected.parts.database.reading_connection() as db:
            return queries.payment(db, self.owner.scope, payment_id)

    @property
    def given_back(self) -> list[int]:
        """What the processor really gave back."""
        return [one["amount"] for one in self.connected.sandbox.objects("refund")]


@pytest.fixture
def shop(connected: Connected) -> Shop:
    make, merchant = connected.make, connected.merchant_id
    return Shop(connected, make.caller(merchant, Role.CASHIER), make.caller(merchant, Role.OWNER))


def send(browser: TestClient, payment_id: str, **form: Any) -> Any:
    """The dialog, as the page would send it."""
    page = browser.get(f"/transactions/{payment_id}")
    key = re.search(r'name="key" value="(frm_\w+)"', page.text)
    values: Mapping[str, Any] = {"by": "all", "reason": "requested_by_customer", **form}
    return browser.post(
        f"/transactions/{payment_id}/refunds",
        data={"key": key.group(1) if key else "frm_none", **values},
    )


def test_all_of_a_payment_goes_back(shop: Shop) -> None:
    payment = shop.charge()

    page = send(shop.browser(Role.MANAGER), payment.id, note="Wrong size")

    (refund,) = shop.refunds(payment.id)
    assert page.status_code == 200
    assert "US$60.00: The money is on its way back to the customer." in page.text
    assert (refund.amount_minor, refund.state, refund.note) == (
        60_00,
        RefundState.SUCCEEDED,
        "Wrong size",
    )
    assert shop.given_back == [60_00]
    assert 'id="refund"' not in page.text


def test_a_part_goes_back_and_the_rest_is_offered(shop: Shop) -> None:
    payment = shop.charge()

    page = send(shop.browser(Role.MANAGER), payment.id, by="amount", amount="12,50")

    assert shop.given_back == [12_50]
    assert "All that is left: US$47.50" in page.text
    assert "Partly given back" in page.text


def test_lines_go_back_once(shop: Shop) -> None:
    payment = shop.charge(items=ITEMS)
    manager = shop.browser(Role.MANAGER)

    first = send(manager, payment.id, by="lines", **{"line-0": "2", "line-1": "0"})
    again = send(manager, payment.id, by="lines", **{"line-0": "2"})

    assert shop.given_back == [30_00]
    assert "2 given back" in first.text
    assert (again.status_code, "Line 1 has 1 left to give back." in again.text) == (422, True)
    assert "data-open" in again.text


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({"by": "amount", "amount": "60.01"}, "US$60.00 of this payment can still be given back."),
        ({"by": "amount", "amount": "much"}, "Write the amount like 12.34."),
        ({"by": "amount", "amount": "0"}, "Write the amount like 12.34."),
        ({"by": "amount", "amount": "-1"}, "Write the amount like 12.34."),
        ({"by": "lines", "line-0": "0"}, "Choose how many of which line go back."),
    ],
)
def test_what_cannot_be_is_told_in_the_dialog_and_moves_no_money(
    shop: Shop, form: dict[str, str], said: str
) -> None:
    payment = shop.charge(items=ITEMS)

    page = send(shop.browser(Role.MANAGER), payment.id, note="mine", **form)

    assert page.status_code == 422
    assert said in page.text
    assert "data-open" in page.text
    assert 'value="mine"' in page.text
    assert shop.refunds(payment.id) == []
    assert shop.given_back == []


def test_the_same_dialog_sent_twice_gives_back_once(shop: Shop) -> None:
    payment = shop.charge()
    manager = shop.browser(Role.MANAGER)
    form = {"key": "frm_same", "by": "amount", "amount": "10", "reason": "other"}

    answers = [manager.post(f"/transactions/{payment.id}/refunds", data=form) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [200, 200]
    assert shop.given_back == [10_00]
    assert len(shop.refunds(payment.id)) == 1


@pytest.mark.parametrize("role", [Role.CASHIER, Role.ACCOUNTANT])
def test_who_may_not_refund_is_told_who_can_and_sends_in_vain(shop: Shop, role: Role) -> None:
    payment = shop.charge()
    browser = shop.browser(role)

    page = browser.get(f"/transactions/{payment.id}")
    answer = send(browser, payment.id)

    assert page.status_code == 200
    assert "A manager or an owner can give this money back." in page.text
    assert 'id="refund"' not in page.text
    assert answer.status_code == 403
    assert shop.refunds(payment.id) == []
    assert shop.given_back == []


def test_another_merchants_payment_is_not_there(shop: Shop) -> None:
    payment = shop.charge()
    make = shop.connected.make
    stranger = make.client_as(make.merchant("Other"), Role.OWNER)

    answers = [
        stranger.get(f"/transactions/{payment.id}"),
        stranger.get(f"/transactions/{payment.transaction_id}"),
        stranger.post(f"/transactions/{payment.id}/refunds", data={"by": "all", "key": "frm_x"}),
    ]

    assert [answer.status_code for answer in answers] == [404, 404, 404]
    assert shop.given_back == []


def test_above_the_limit_it_waits_and_a_second_person_lets_it_go(shop: Shop) -> None:
    shop.limit_refunds(50_00)
    payment = shop.charge()

    asked = send(shop.browser(Role.MANAGER), payment.id)
    waiting = shop.refunds(payment.id)[0]
    before = shop.given_back
    other = shop.browser(Role.MANAGER)
    queue = other.get("/approvals")
    done = other.post(f"/approvals/{waiting.id}/approve")

    assert "The refund waits for approval." in asked.text
    assert (waiting.state, before) == (RefundState.AWAITING_APPROVAL, [])
    assert "−US$60.00" in queue.text
    assert '<b class="count">1</b>' in queue.text
    assert "Nothing waits for you." in done.text
    assert shop.refunds(payment.id)[0].state is RefundState.SUCCEEDED
    assert shop.given_back == [60_00]


def test_a_large_refund_does_not_go_in_small_pieces(shop: Shop) -> None:
    shop.limit_refunds(50_00)
    payment = shop.charge()
    manager = shop.browser(Role.MANAGER)

    send(manager, payment.id, by="amount", amount="30")
    send(manager, payment.id, by="amount", amount="30")

    assert [one.state for one in shop.refunds(payment.id)] == [
        RefundState.SUCCEEDED, RefundState.AWAITING_APPROVAL,
    ]  # fmt: skip
    assert shop.given_back == [30_00]


def test_a_members_own_limit_makes_it_wait_too(shop: Shop) -> None:
    payment = shop.charge()

    send(shop.browser(Role.MANAGER, refund={"USD": 5_00}), payment.id)

    assert shop.refunds(payment.id)[0].state is RefundState.AWAITING_APPROVAL
    assert shop.given_back == []


def test_nobody_approves_their_own_request(shop: Shop) -> None:
    shop.limit_refunds(50_00)
    payment = shop.charge()
    manager = shop.browser(Role.MANAGER)
    send(manager, payment.id)
    (waiting,) = shop.refunds(payment.id)

    queue = manager.get("/approvals")
    answer = manager.post(f"/approvals/{waiting.id}/approve")

    assert "You asked for it, so somebody else decides." in queue.text
    assert f"/approvals/{waiting.id}/approve" not in queue.text
    assert answer.status_code in {403, 409}
    assert shop.refunds(payment.id)[0].state is RefundState.AWAITING_APPROVAL
    assert shop.given_back == []


def test_a_rejected_refund_moves_no_money_and_tells_why(shop: Shop) -> None:
    shop.limit_refunds(50_00)
    payment = shop.charge()
    send(shop.browser(Role.MANAGER), payment.id)
    (waiting,) = shop.refunds(payment.id)
    owner = shop.browser(Role.OWNER)

    owner.post(f"/approvals/{waiting.id}/reject", data={"note": "The box was opened"})
    late = owner.post(f"/approvals/{waiting.id}/approve")

    page = owner.get(f"/transactions/{payment.id}")
    assert shop.refunds(payment.id)[0].state is RefundState.REJECTED
    assert late.status_code == 409
    assert shop.given_back == []
    assert "The box was opened" in page.text
    assert "All that is left: US$60.00" in page.text


@pytest.mark.parametrize("step", ["approve", "reject"])
def test_a_cashier_decides_nothing(shop: Shop, step: str) -> None:
    shop.limit_refunds(50_00)
    payment = shop.charge()
    send(shop.browser(Role.MANAGER), payment.id)
    (waiting,) = shop.refunds(payment.id)
    cashier = shop.browser(Role.CASHIER)

    answers = [cashier.get("/approvals"), cashier.post(f"/approvals/{waiting.id}/{step}")]

    assert [answer.status_code for answer in answers] == [403, 403]
    assert 'href="/approvals"' not in cashier.get("/transactions").text
    assert shop.refunds(payment.id)[0].state is RefundState.AWAITING_APPROVAL
    assert shop.given_back == []


def test_an_approver_stays_within_their_own_limit(shop: Shop) -> None:
    shop.limit_refunds(50_00)
    payment = shop.charge()
    send(shop.browser(Role.MANAGER), payment.id)
    (waiting,) = shop.refunds(payment.id)
    small = shop.browser(Role.MANAGER, refund={"USD": 20_00})

    queue = small.get("/approvals")
    answer = small.post(f"/approvals/{waiting.id}/approve")

    assert "You may approve up to US$20.00." in queue.text
    assert answer.status_code == 403
    assert shop.given_back == []


def test_the_page_tells_all_that_is_known(shop: Shop) -> None:
    with shop.connected.parts.database.transaction() as db:
        order = TillField(id="", key="po", label_en="Purchase order", label_fr="Bon de commande")
        service.save_field(db, shop.owner, order)
    payment = shop.charge(items=ITEMS, reference="1042", fields={"po": "PO-7"}, note="By phone")
    manager = shop.browser(Role.MANAGER)

    by_row = manager.get(f"/transactions/{payment.transaction_id}").text
    by_payment = manager.get(f"/transactions/{payment.id}").text
    in_french = manager.get(f"/transactions/{payment.id}", headers={"Accept-Language": "fr"}).text

    for page in (by_row, by_payment):
        assert "3 × Chair" in page
        assert "Purchase order" in page
        assert "PO-7" in page
        assert "1042" in page
        assert str(payment.processor_id) in page
        assert str(payment.charge_id) in page
        assert "Visa •••• 4242" in page
        assert "US$60.00 paid." in page
        assert "Fee" in page
    assert "Bon de commande" in in_french
    assert "60,00\u00a0$US payés." in in_french


def test_a_declined_payment_tells_why_and_has_nothing_to_refund(shop: Shop) -> None:
    payment = shop.charge(DECLINED)

    page = shop.browser(Role.MANAGER).get(f"/transactions/{payment.id}")

    assert payment.state is PaymentState.OPEN
    assert "Open at the till" in page.text
    assert 'id="refund"' not in page.text
    assert "Declined" in page.text


def test_a_second_charge_of_the_same_card_is_offered_back_with_one_click(shop: Shop) -> None:
    first = shop.charge()
    second = shop.charge()
    with shop.connected.parts.database.transaction() as db:
        db.execute(
            PAYMENTS.update().where(PAYMENTS.c.id == second.id).values(duplicate_of=first.id)
        )
    manager = shop.browser(Role.MANAGER)

    page = manager.get(f"/transactions/{second.id}")
    twin = manager.get(f"/transactions/{first.id}")
    send(manager, second.id, reason="duplicate")
    after = manager.get(f"/transactions/{first.id}")

    assert "This looks like a second charge of the same sale." in page.text
    assert f'href="/transactions/{first.id}"' in page.text
    assert 'name="reason" value="duplicate"' in page.text
    assert f'href="/transactions/{second.id}"' in twin.text
    assert "second charge" not in after.text
    assert shop.given_back == [60_00]


def test_money_that_is_held_is_found_on_its_way(shop: Shop) -> None:
    held = shop.charge(capture_later=True, reference="held-1")
    manager = shop.browser(Role.MANAGER)

    listed = manager.get("/transactions/open")
    page = manager.get(f"/transactions/{held.id}")

    assert "On their way" in manager.get("/transactions").text
    assert f'href="/transactions/{held.id}"' in listed.text
    assert "Held 1" in listed.text
    assert manager.get("/transactions/open?state=processing").text.count("held-1") == 0
    assert "Take or release the money" in page.text
    assert 'id="refund"' not in page.text


@pytest.mark.parametrize("what", ["processor_id", "charge_id", "id", "card_last4"])
def test_a_transaction_is_found_by_every_id(shop: Shop, what: str) -> None:
    payment = shop.charge()
    wanted = str(getattr(payment, what))

    page = shop.browser(Role.CASHIER).get("/transactions", params={"q": wanted})

    assert f'href="/transactions/{payment.transaction_id}"' in page.text


def test_a_transaction_is_found_by_an_own_field(shop: Shop) -> None:
    with shop.connected.parts.database.transaction() as db:
        service.save_field(db, shop.owner, TillField(id="", key="po", label_en="Purchase order"))
    payment = shop.charge(fields={"po": "Élan 42"})
    shop.charge(fields={"po": "Other"})
    cashier = shop.browser(Role.CASHIER)

    page = cashier.get("/transactions", params={"q": "elan"})

    assert f'href="/transactions/{payment.transaction_id}"' in page.text
    assert page.text.count("row-link") == 1


def test_a_dispute_shows_on_its_sale_and_in_the_list(shop: Shop) -> None:
    payment = shop.charge(DISPUTED)
    with shop.connected.parts.database.transaction() as db:
        db.execute(
            DISPUTES.insert().values(
                id="dsp_1", merchant_id=shop.connected.merchant_id, payment_id=payment.id,
                processor_id="dp_1", charge_id=payment.charge_id, amount_minor=60_00, currency="USD",
                reason="fraudulent", status="needs_response", created_at=payment.created_at,
                updated_at=payment.created_at, has_evidence=False,
            )
        )  # fmt: skip
    accountant = shop.browser(Role.ACCOUNTANT)

    listed = accountant.get("/disputes")
    page = accountant.get(f"/transactions/{payment.id}")

    assert "Not the cardholder" in listed.text
    assert f'href="/transactions/{payment.id}"' in listed.text
    assert "The cardholder’s bank wants US$60.00 back" in page.text
    assert shop.browser(Role.CASHIER).get("/disputes").status_code == 403
    assert (
        "wants US$60.00 back"
        not in shop.browser(Role.CASHIER).get(f"/transactions/{payment.id}").text
    )


@pytest.mark.parametrize("path", ["/transactions/file", "/v1/transactions/file"])
def test_the_book_is_exported_with_own_fields(shop: Shop, path: str) -> None:
    with shop.connected.parts.database.transaction() as db:
        service.save_field(db, shop.owner, TillField(id="", key="po", label_en="Purchase order"))
    payment = shop.charge(fields={"po": "PO-7"}, reference="=HYPERLINK(1)")
    shop.charge(amount=Money(5_00, "USD"))
    accountant = shop.browser(Role.ACCOUNTANT)

    whole = accountant.get(path)
    part = accountant.get(path, params={"q": "po-7"})

    rows = list(csv.DictReader(io.StringIO(whole.content.decode("utf-8-sig"))))
    assert whole.headers["content-type"].startswith("text/csv")
    assert [(row["amount"], row["currency"], row["field:po"]) for row in rows] == [
        ("5.00", "USD", ""), ("60.00", "USD", "PO-7"),
    ]  # fmt: skip
    assert (rows[1]["reference"], rows[1]["payment_id"]) == ("'=HYPERLINK(1)", payment.id)
    assert len(list(csv.DictReader(io.StringIO(part.text)))) == 1
    assert "Export these as CSV" in accountant.get("/transactions").text
    assert shop.browser(Role.CASHIER).get(path).status_code == 403
