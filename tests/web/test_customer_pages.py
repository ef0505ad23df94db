"""Pages of customers, receipts and the mailbox over HTTP: what is refused changes nothing, what is typed is text."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from sqlalchemy import func, select
from starlette.testclient import TestClient

from control_plane.accounts.permissions import Role
from control_plane.customers import methods, service
from control_plane.customers.methods import Consent, Kept
from control_plane.customers.models import CUSTOMERS, METHODS, ConsentHow, MethodKind, MethodStatus
from control_plane.customers.service import Details
from control_plane.jobs.catalog import all_jobs
from control_plane.jobs.worker import Worker
from control_plane.mail import mail_queue
from control_plane.mail.mailer import Mailer, NoMailer
from control_plane.mail.message import Attachment, Message
from control_plane.parts import Parts
from control_plane.receipts.look import look_of
from control_plane.virtual_terminal.models import PAYMENTS
from protocols.ids import new_id
from tests.fixtures.control_plane import Factory

NASTY = '"><img src=x onerror=alert(1)>'
VISA = Kept(
    kind=MethodKind.CARD,
    processor_id="pm_1",
    brand="visa",
    last4="4242",
    exp_month=6,
    exp_year=2026,
    fingerprint="fp_1",
)


class Shop:
    """A merchant with a customer and a saved card."""

    def __init__(self, make: Factory) -> None:
        self.make, self.parts = make, make.parts
        self.merchant_id = make.merchant()
        make.location(self.merchant_id)
        self.cashier = make.caller(self.merchant_id, Role.CASHIER)
        self.customer_id = self.add(Details(name="Jeanne Dupont", email="jeanne@example.com"))

    def add(self, details: Details) -> str:
        with self.parts.database.transaction() as db:
            return service.create_customer(db, self.cashier, details)

    def save(self, kept: Kept = VISA) -> str:
        consent = Consent(text="I allow it for my orders.", how=ConsentHow.PHONE)
        with self.parts.database.transaction() as db:
            return methods.save_method(
                db, self.merchant_id, self.cashier.actor, self.customer_id, kept, consent
            )

    @property
    def address(self) -> str:
        return f"/customers/{self.customer_id}"


@pytest.fixture
def shop(make: Factory) -> Shop:
    return Shop(make)


@pytest.fixture
def till(shop: Shop) -> TestClient:
    return shop.make.client_as(shop.merchant_id, Role.CASHIER)


def count(parts: Parts, table: object) -> int:
    with parts.database.reading_connection() as db:
        return db.execute(select(func.count()).select_from(table)).scalar_one()  # type: ignore[arg-type]  # a table


def test_the_picker_gives_options_with_what_a_form_needs(shop: Shop, till: TestClient) -> None:
    shop.save()
    shop.add(Details(name="Paul"))

    text = till.get("/customers/pick", params={"q": "dup"}).text

    (option,) = re.findall(r"<li[^>]* data-customer=[^>]*>", text)
    assert f'data-customer="{shop.customer_id}"' in option
    assert 'role="option"' in option
    assert 'data-email="jeanne@example.com"' in option
    assert "Visa •• 4242" in text
    assert "Add “dup” as a new customer" in text
    assert "<html" not in text


def test_the_picker_offers_nothing_new_to_who_may_not_add(shop: Shop) -> None:
    accountant = shop.make.client_as(shop.merchant_id, Role.ACCOUNTANT)

    text = accountant.get("/customers/pick", params={"q": "nobody"}).text

    assert "Nobody is found by “nobody”." in text
    assert "pick-new" not in text


def test_what_people_write_is_text(shop: Shop, till: TestClient) -> None:
    customer = shop.add(Details(name=NASTY, company=NASTY, note=NASTY))

    texts = [
        till.get(path).text
        for path in (
            "/customers", f"/customers/{customer}", f"/customers/{customer}/edit",
            "/customers/pick", f"/customers?q={NASTY}", f"/customers/pick?q={NASTY}",
            f"/customers/new?name={NASTY}",
        )
    ]  # fmt: skip

    assert [text for text in texts if "<img src=x" in text] == []
    assert all("&lt;img src=x" in text for text in texts)


@pytest.mark.parametrize(
    "path",
    ["", "/edit", "/charge?amount=1&method=x", "/methods/add"],
)
def test_a_customer_of_another_merchant_is_no_page(shop: Shop, path: str) -> None:
    stranger = shop.make.client_as(shop.make.merchant("Elsewhere"), Role.OWNER)

    answer = stranger.get(shop.address + path)

    assert answer.status_code == 404
    assert "Jeanne" not in answer.text


def test_who_only_looks_changes_nothing(shop: Shop) -> None:
    method = shop.save()
    accountant = shop.make.client_as(shop.merchant_id, Role.ACCOUNTANT)
    page = accountant.get(shop.address)

    answers = [
        accountant.post("/customers/new", data={"name": "X"}),
        accountant.post(f"{shop.address}/edit", data={"name": "X"}),
        accountant.post(f"{shop.address}/archive"),
        accountant.post(f"{shop.address}/methods/{method}/remove"),
        accountant.post(f"{shop.address}/methods/add", data={"token": "ctoken_1"}),
        accountant.get(f"{shop.address}/charge", params={"method": method, "amount": "1"}),
    ]

    assert page.status_code == 200
    assert "Archive" not in page.text
    assert "Charge again" not in page.text
    assert [answer.status_code for answer in answers] == [403] * 6
    assert count(shop.parts, CUSTOMERS) == 1
    with shop.parts.database.reading_connection() as db:
        assert db.execute(select(METHODS.c.status)).scalar_one() is MethodStatus.ACTIVE


def test_a_form_without_its_token_changes_nothing(shop: Shop, till: TestClient) -> None:
    del till.headers["X-CSRF-Token"]

    answers = [
        till.post("/customers/new", data={"name": "X"}),
        till.post(f"{shop.address}/archive"),
    ]

    assert [answer.status_code for answer in answers] == [403, 403]
    assert count(shop.parts, CUSTOMERS) == 1


def test_charging_again_asks_with_everything_in_one_sentence(shop: Shop, till: TestClient) -> None:
    method = shop.save()
    wish = {"method": method, "amount": "45,5", "currency": "EUR", "reference": "A-1"}

    text = till.get(f"{shop.address}/charge", params=wish).text

    assert "Charge €45.50 to Visa •• 4242?" in text
    assert 'action="/pos/payments"' in text
    assert f'name="saved" value="{method}"' in text
    assert 'name="amount" value="45.50"' in text
    assert count(shop.parts, PAYMENTS) == 0


@pytest.mark.parametrize("amount", ["", "0", "-5", "abc", "1e9", "99999999999999"])
def test_an_amount_that_is_none_is_not_asked_about(
    shop: Shop, till: TestClient, amount: str
) -> None:
    wish = {"method": shop.save(), "amount": amount}

    answer = till.get(f"{shop.address}/charge", params=wish)

    assert answer.status_code == 422
    assert "Write the amount like 12.34." in answer.text


def test_a_removed_card_cannot_be_charged_again(shop: Shop, till: TestClient) -> None:
    method = shop.save()
    till.post(f"{shop.address}/methods/{method}/remove")

    answer = till.get(f"{shop.address}/charge", params={"method": method, "amount": "1"})

    assert answer.status_code == 409
    assert "Visa •• 4242 cannot be charged any more." in answer.text


def test_a_card_whose_date_comes_is_told_before_and_after(
    shop: Shop, till: TestClient, clock: object
) -> None:
    shop.save()
    assert "Expires soon" in till.get(shop.address).text
    assert "1 card expires soon" in till.get("/customers").text
    assert "06/26" in till.get("/customers/expiring").text

    shop.parts.clock.advance(timedelta(days=60))  # type: ignore[attr-defined]  # a FakeClock
    later = shop.make.client_as(shop.merchant_id, Role.CASHIER)

    assert "Expired" in later.get(shop.address).text


def test_the_settings_of_receipts_keep_what_was_typed_when_refused(shop: Shop) -> None:
    owner = shop.make.client_as(shop.merchant_id, Role.OWNER)
    form = {"message": "Merci", "footer": "Lyon", "language": "fr", "shown": ["items"]}

    refused = owner.post("/settings/receipts", data={**form, "reply_to": "nobody"})
    assert refused.status_code == 422
    assert ">Merci</textarea>" in refused.text
    with shop.parts.database.reading_connection() as db:
        assert look_of(db, shop.merchant_id).message == ""

    saved = owner.post("/settings/receipts", data={**form, "reply_to": ""})
    assert saved.status_code == 200
    with shop.parts.database.reading_connection() as db:
        assert look_of(db, shop.merchant_id).message == "Merci"


def test_a_file_that_is_no_logo_is_refused_with_words(shop: Shop) -> None:
    owner = shop.make.client_as(shop.merchant_id, Role.OWNER)

    answer = owner.post(
        "/settings/receipts/logo", files={"logo": ("x.svg", b"<svg/>", "image/svg+xml")}
    )

    assert answer.status_code == 422
    assert "Upload the logo as a PNG or JPEG file" in answer.text


def mailed(shop: Shop, message: Message) -> str:
    with shop.parts.database.transaction() as db:
        mail_id = mail_queue.queue_mail(
            db, shop.merchant_id, message, kind="tests", dedupe_key=new_id("key")
        )
    worker = Worker(shop.parts, {mail_queue.SEND: all_jobs()[mail_queue.SEND]}, threads=0)
    assert worker.run_one()
    return mail_id or ""


def test_a_mail_is_shown_in_a_frame_that_runs_nothing(shop: Shop, till: TestClient) -> None:
    mail_id = mailed(
        shop,
        Message(
            to="a@example.com",
            subject=NASTY,
            text="plain",
            html="<p>Hello</p><script>alert(1)</script>",
            attachments=(Attachment('a"b\r\n.pdf', "application/pdf", b"%PDF"),),
        ),
    )

    page = till.get(f"/mailbox/{mail_id}")
    frame = till.get(f"/mailbox/{mail_id}/html")
    file = till.get(f"/mailbox/{mail_id}/files/0")

    assert "<img src=x" not in page.text
    assert 'sandbox src="/mailbox/' in page.text
    policy = frame.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'")
    assert "script-src" not in policy
    assert frame.headers["x-frame-options"] == "SAMEORIGIN"
    assert file.content == b"%PDF"
    assert file.headers["content-disposition"].startswith("attachment;")
    assert (
        "New"
        not in re.sub(r"<title>.*?</title>", "", till.get("/mailbox").text).partition("<tbody>")[2]
    )


def test_mail_of_another_merchant_is_not_there(shop: Shop) -> None:
    mail_id = mailed(shop, Message(to="a@example.com", subject="Secret", text="plain"))
    stranger = shop.make.client_as(shop.make.merchant("Elsewhere"), Role.OWNER)

    assert "Secret" not in stranger.get("/mailbox").text
    for path in ("", "/html", "/files/0"):
        assert stranger.get(f"/mailbox/{mail_id}{path}").status_code == 404


def test_without_the_demos_mailbox_there_is_no_page_and_no_way_to_it(
    shop: Shop, till: TestClient
) -> None:
    mail_id = mailed(shop, Message(to="a@example.com", subject="S", text="plain"))
    assert 'href="/mailbox"' in till.get("/customers").text

    none: Mailer = NoMailer()
    shop.parts.provide(Mailer, none)

    for path in ("", f"/{mail_id}", f"/{mail_id}/html"):
        assert till.get(f"/mailbox{path}").status_code == 404
    assert 'href="/mailbox"' not in till.get("/customers").text
