"""Receipts of every channel, on both databases: what they say, who may see them, and that each mail goes out once."""

from __future__ import annotations

from email import message_from_string
from email.policy import SMTP
from io import BytesIO
from typing import Any

import pytest
from PIL import Image
from sqlalchemy import func, select
from starlette.testclient import TestClient

from control_plane.accounts.caller import Caller
from control_plane.accounts.permissions import Permission, Role
from control_plane.customers import service as customers
from control_plane.customers.service import Details
from control_plane.jobs.catalog import all_jobs
from control_plane.jobs.worker import Worker
from control_plane.mail import mail_queue
from control_plane.mail.mailer import Mailer, NoMailer
from control_plane.mail.models import MAILBOX, MESSAGES
from control_plane.parts import Parts
from control_plane.transactions.ledger import append
from control_plane.transactions.models import Kind, Method, SaleChannel, Status
from control_plane.virtual_terminal.desk import Desk
from control_plane.virtual_terminal.lifecycle import PaymentState
from control_plane.virtual_terminal.wishes import ChargeWish, Order
from protocols.ids import new_id
from protocols.money import Money
from tests.fixtures.control_plane import Factory
from tests.fixtures.virtual_terminal import Connected
from tests.support.counter_reader import counter_of
from tests.support.pdf_text import words_in

LINES = "** CUSTOMER COPY **\nCard 5454 5454 5454 5454"


class Shop:
    """A merchant with one shop, and rows in its ledger."""

    def __init__(self, make: Factory) -> None:
        self.make = make
        self.parts = make.parts
        self.merchant_id = make.merchant("Café Lumière")
        self.location_id = make.location(self.merchant_id, "Lyon")
        self.cashier: Caller = make.caller(self.merchant_id, Role.CASHIER)

    def row(self, **facts: Any) -> str:
        """A sale on a reader of ours, unless the facts say otherwise; its id."""
        values = {
            "id": new_id("tx"),
            "merchant_id": self.merchant_id,
            "location_id": self.location_id,
            "cashier_id": self.cashier.id,
            "kind": Kind.SALE,
            "status": Status.APPROVED,
            "channel": SaleChannel.IN_PERSON,
            "method": Method.CARD,
            "amount_minor": 12_34,
            "currency": "EUR",
            "source": "reader",
            "external_id": new_id("ts"),
            "card_brand": "Visa",
            "card_last4": "0119",
            "entry_mode": "contactless",
            "aid": "A0000000031010",
            "application_label": "VISA CREDIT",
            "authorization_code": "087612",
            "terminal_id": "52500001",
            "receipt_number": 17,
            "reference": "order 1042",
            "receipt": LINES,
            "occurred_at": self.parts.clock.now(),
            **facts,
        }
        with self.parts.database.transaction() as db:
            assert append(db, values)
        return str(values["id"])


@pytest.fixture
def shop(make: Factory) -> Shop:
    return Shop(make)


@pytest.fixture
def till(shop: Shop) -> TestClient:
    return shop.make.client_as(shop.merchant_id, Role.CASHIER)


def work(parts: Parts) -> None:
    names = (mail_queue.SEND, "receipts.send_promised")
    worker = Worker(parts, {name: all_jobs()[name] for name in names}, threads=0)
    while worker.run_one():
        pass


def mails(parts: Parts) -> list[Any]:
    with parts.database.reading_connection() as db:
        rows = db.execute(select(MAILBOX).order_by(MAILBOX.c.received_at)).all()
    return [message_from_string(row.source, policy=SMTP) for row in rows]


def count(parts: Parts, table: Any) -> int:
    with parts.database.reading_connection() as db:
        return db.execute(select(func.count()).select_from(table)).scalar_one()


def text_of(client: TestClient, thing_id: str, **query: str) -> str:
    kind = "payments" if thing_id.startswith("pay_") else "transactions"
    answer = client.get(f"/v1/{kind}/{thing_id}/receipt.txt", params=query)
    assert answer.status_code == 200, answer.text
    return " ".join(answer.text.replace("\u202f", " ").replace("\u00a0", " ").split())


def test_a_sale_on_a_reader_has_a_receipt_in_every_form(shop: Shop, till: TestClient) -> None:
    sale = shop.row()

    page = till.get(f"/v1/transactions/{sale}/receipt.html")
    pdf = till.get(f"/v1/transactions/{sale}/receipt.pdf")
    text = till.get(f"/v1/transactions/{sale}/receipt.txt")

    assert page.headers["content-type"].startswith("text/html")
    assert "script-src" not in page.headers["content-security-policy"]
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    assert pdf.headers["content-type"] == "application/pdf"
    assert f'filename="receipt-2026-05-04-{sale[-6:]}.pdf"' in pdf.headers["content-disposition"]
    for told in ("Café Lumière", "Lyon", "€12.34", "Visa •••• 0119", "tapped", "A0000000031010"):
        assert told in page.text
        assert told in words_in(pdf.content)
        assert told in text.text


def test_what_a_reader_printed_is_on_it_without_a_card_number(shop: Shop, till: TestClient) -> None:
    text = text_of(till, shop.row())

    assert "** CUSTOMER COPY **" in text
    assert "5454 54** **** 5454" in text


def test_it_speaks_the_customers_language(shop: Shop, till: TestClient) -> None:
    with shop.parts.database.transaction() as db:
        customer = customers.create_customer(
            db, shop.cashier, Details(name="Éloïse", language="fr")
        )
    sale = shop.row(customer_id=customer)

    assert "Autorisation 087612 " in text_of(till, sale)
    assert "Client Éloïse" in text_of(till, sale)
    assert "Approval code 087612" in text_of(till, sale, language="en")


def test_a_refund_and_its_sale_name_each_other(shop: Shop, till: TestClient) -> None:
    sale = shop.row()
    refund = shop.row(kind=Kind.REFUND, amount_minor=2_00, original_id=sale)
    shop.row(kind=Kind.REFUND, status=Status.FAILED, amount_minor=5_00, original_id=sale)

    assert "of which given back €2.00" in text_of(till, sale)
    assert "−€2.00" in text_of(till, refund)
    assert "Belongs to sale of 4 May 2026, €12.34" in text_of(till, refund)


@pytest.mark.parametrize("status", [Status.DECLINED, Status.FAILED, Status.CANCELLED])
def test_a_sale_that_was_not_taken_says_that_nothing_was_charged(
    shop: Shop, till: TestClient, status: Status
) -> None:
    assert "Nothing was charged" in text_of(till, shop.row(status=status))


def test_only_who_may_see_the_sale_sees_its_receipt(shop: Shop) -> None:
    sale = shop.row()
    make, address = shop.make, f"/v1/transactions/{sale}/receipt.pdf"
    elsewhere = make.location(shop.merchant_id)

    stranger = make.client_as(make.merchant("Elsewhere"), Role.OWNER)
    other_shop = make.client_as(shop.merchant_id, Role.CASHIER, location_ids=[elsewhere])
    it = make.client_as(shop.merchant_id, Role.IT)
    nobody = TestClient(make.app(), raise_server_exceptions=False)

    assert [one.get(address).status_code for one in (stranger, other_shop, it, nobody)] == [
        404, 404, 403, 401,
    ]  # fmt: skip
    send = f"/v1/transactions/{sale}/receipt"
    for one in (stranger, other_shop, it):
        assert one.post(send, json={"email": "a@example.com"}).status_code in {403, 404}
    assert count(shop.parts, MESSAGES) == 0


def test_a_receipt_is_mailed_with_its_pdf(shop: Shop, till: TestClient) -> None:
    sale = shop.row()

    answer = till.post(f"/v1/transactions/{sale}/receipt", json={"email": " Ada@Example.com "})
    work(shop.parts)

    assert answer.status_code == 202
    (mail,) = mails(shop.parts)
    assert mail["To"] == "Ada@example.com"
    assert mail["Subject"] == "Receipt from Café Lumière: €12.34"
    assert mail["From"].startswith("Café Lumière <")
    (pdf,) = mail.iter_attachments()
    assert pdf.get_content_type() == "application/pdf"
    assert "€12.34" in words_in(pdf.get_payload(decode=True))
    assert "Visa •••• 0119" in mail.get_body(("html",)).get_content()
    listed = till.get(f"/v1/transactions/{sale}/receipt/mails").json()
    assert [(one["id"], one["state"]) for one in listed] == [(answer.json()["mail_id"], "sent")]


def test_the_same_request_sends_one_mail_and_a_new_one_another(
    shop: Shop, till: TestClient
) -> None:
    address, body = f"/v1/transactions/{shop.row()}/receipt", {"email": "ada@example.com"}

    key = {"Idempotency-Key": "mail-1"}
    first = till.post(address, json=body, headers=key)
    again = till.post(address, json=body, headers=key)
    assert first.json() == again.json()
    assert count(shop.parts, MESSAGES) == 1

    till.post(address, json=body)
    assert count(shop.parts, MESSAGES) == 2


@pytest.mark.parametrize("email", ["", "nobody", "a@example.com\nBcc: b@example.com"])
def test_an_address_that_is_none_sends_nothing(shop: Shop, till: TestClient, email: str) -> None:
    answer = till.post(f"/v1/transactions/{shop.row()}/receipt", json={"email": email})

    assert (answer.status_code, answer.json()["code"]) == (422, "email_not_recognised")
    assert count(shop.parts, MESSAGES) == 0


def test_without_a_mail_server_it_says_so(shop: Shop, till: TestClient) -> None:
    none: Mailer = NoMailer()
    shop.parts.provide(Mailer, none)

    answer = till.post(f"/v1/transactions/{shop.row()}/receipt", json={"email": "a@example.com"})

    assert (answer.status_code, answer.json()["code"]) == (409, "mail_not_set_up")
    assert count(shop.parts, MESSAGES) == 0


def test_the_owner_chooses_how_receipts_look(shop: Shop, till: TestClient) -> None:
    owner = shop.make.client_as(shop.merchant_id, Role.OWNER)
    sale, out = shop.row(), BytesIO()
    Image.new("RGB", (300, 100), (1, 2, 3)).save(out, "JPEG")
    wish = {
        "message": "Merci !", "footer": "12 rue de la Paix", "shown": ["logo"],
        "language": "fr", "reply_to": "shop@example.com",
    }  # fmt: skip

    assert owner.put("/v1/receipt-template", json=wish).status_code == 200
    assert owner.put("/v1/receipt-template/logo", content=out.getvalue()).json()["has_logo"]
    text = text_of(till, sale)
    assert "Merci !" in text
    assert "12 rue de la Paix" in text
    assert "087612" not in text
    page = f"/v1/transactions/{sale}/receipt.html"
    assert "data:image/png" in till.get(page).text

    till.post(f"/v1/transactions/{sale}/receipt", json={"email": "ada@example.com"})
    work(shop.parts)
    (mail,) = mails(shop.parts)
    assert mail["Reply-To"] == "shop@example.com"
    pictures = [part for part in mail.walk() if part.get_content_type() == "image/png"]
    assert [part["Content-ID"] for part in pictures] == ["<logo@omnitill>"]

    assert owner.delete("/v1/receipt-template/logo").status_code == 204
    assert "data:image/png" not in till.get(page).text
    assert till.get("/v1/receipt-template").json()["message"] == "Merci !"


def test_who_may_not_change_settings_changes_no_template(shop: Shop, till: TestClient) -> None:
    before = till.get("/v1/receipt-template").json()

    answers = [
        till.put("/v1/receipt-template", json={"shown": [], "message": "Mine"}),
        till.put("/v1/receipt-template/logo", content=b"x"),
        till.delete("/v1/receipt-template/logo"),
    ]

    assert [answer.status_code for answer in answers] == [403] * 3
    assert till.get("/v1/receipt-template").json() == before


def test_a_file_that_is_no_picture_leaves_the_logo_alone(shop: Shop) -> None:
    owner = shop.make.client_as(shop.merchant_id, Role.OWNER)

    answer = owner.put("/v1/receipt-template/logo", content=b"<svg/>")

    assert (answer.status_code, answer.json()["code"]) == (422, "logo_refused")
    assert not owner.get("/v1/receipt-template").json()["has_logo"]


# --- payments that a processor takes -------------------------------------------------------------------------


def charge(connected: Connected, token: str, **order: Any) -> Any:  # a PaymentView
    cashier = connected.make.caller(connected.merchant_id, Role.CASHIER)
    wish = ChargeWish(
        order=Order(amount=Money(12_34, "USD"), location_id=connected.location_id, **order),
        method="keyed",
        token=token,
    )
    return connected.parts.get(Desk).charge(cashier, wish)


def test_a_keyed_payment_with_items_tax_and_tip_is_told_line_by_line(
    connected: Connected,
) -> None:
    items = (
        {
            "name": "Espresso", "quantity": 2, "unit_minor": 450, "tax_rate": "20",
            "tax_name": "VAT", "tax_minor": 150, "total_minor": 900, "item_id": None,
        },
    )  # fmt: skip
    payment = charge(
        connected, connected.sandbox.token(), items=items, tax_minor=150, tip_minor=334
    )
    till = connected.make.client_as(connected.merchant_id, Role.CASHIER)

    text = text_of(till, payment.id)

    assert payment.state is PaymentState.PAID
    assert text == text_of(till, payment.transaction_id)
    for told in ("2 × Espresso (US$4.50) US$9.00", "Before tax US$7.50", "VAT 20% US$1.50",
                 "Tip US$3.34", "TOTAL US$12.34", "Visa •••• 4242"):  # fmt: skip
        assert told in text


def test_held_money_is_called_held_until_it_is_taken(connected: Connected) -> None:
    payment = charge(connected, connected.sandbox.token(), capture_later=True)
    till = connected.make.client_as(connected.merchant_id, Role.MANAGER)

    assert payment.state is PaymentState.AUTHORIZED
    assert "Amount held, not yet charged" in text_of(till, payment.id)


def test_the_address_given_with_a_payment_gets_its_receipt_once(connected: Connected) -> None:
    payment = charge(connected, connected.sandbox.token(), receipt_email="ada@example.com")

    work(connected.parts)
    connected.parts.get(Desk).after_action(
        connected.make.caller(connected.merchant_id, Role.CASHIER), payment.id
    )
    work(connected.parts)

    (mail,) = mails(connected.parts)
    assert mail["To"] == "ada@example.com"
    assert mail["Subject"] == "Receipt from Café Lumière: US$12.34"


def test_a_declined_payment_mails_nothing(connected: Connected) -> None:
    charge(connected, connected.sandbox.token("4000000000000002"), receipt_email="ada@example.com")

    work(connected.parts)

    assert mails(connected.parts) == []


def test_a_payment_of_another_merchant_has_no_receipt(connected: Connected) -> None:
    payment = charge(connected, connected.sandbox.token())
    stranger = connected.make.client_with_key(
        connected.make.merchant("Elsewhere"), [Permission.TRANSACTION_VIEW]
    )

    assert stranger.get(f"/v1/payments/{payment.id}/receipt.txt").status_code == 404


def test_a_sale_on_the_processors_reader_tells_what_its_chip_said(connected: Connected) -> None:
    counter = counter_of(connected)
    begun = counter.sell(20_00)
    counter.tap()
    counter.look()
    till = connected.make.client_as(connected.merchant_id, Role.CASHIER)
    (charge_of_it,) = connected.sandbox.taken()
    chip = charge_of_it["payment_method_details"]["card_present"]["receipt"]

    text = text_of(till, begun.id)

    for told in (
        f"Application {chip['application_preferred_name']}",
        f"AID {chip['dedicated_file_name']}",
        f"AC {chip['application_cryptogram']}",
        f"TVR {chip['terminal_verification_results']}",
        f"TSI {chip['transaction_status_information']}",
        "US$20.00",
    ):
        assert told in text
