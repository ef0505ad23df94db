"""A receipt in each form and language: it says what happened, in the customer's words, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from io import BytesIO
from zoneinfo import ZoneInfo

import pytest
from PIL import Image

from control_plane.receipts import wording
from control_plane.receipts.document import Item, Original, Receipt, Standing, Tax
from control_plane.receipts.drawing import LOGO_ID, as_mail, as_page, as_text
from control_plane.receipts.look import (
    LARGEST_UPLOAD,
    USUALLY_SHOWN,
    LogoRefused,
    Look,
    ReceiptField,
    checked_look,
    logo_from,
)
from control_plane.receipts.pdf import as_pdf
from control_plane.receipts.service import file_name, subject_of
from control_plane.receipts.sheet import sheet_of
from protocols.money import Money
from tests.support.pdf_text import pages_of, words_in

EVERYTHING = Look(
    message="Merci !\nÀ bientôt",
    footer="12 rue de la Paix",
    shown=frozenset(ReceiptField),
    language="fr",
)
FORMS = ("page", "mail", "text", "pdf")


def eur(minor: int) -> Money:
    return Money(minor, "EUR")


SALE = Receipt(
    id="tx_06f3k8m2r4s6t8v0w2x4y6z8a0",
    merchant="Café Lumière",
    place="Lyon",
    at=datetime(2026, 11, 23, 15, 4, 12, tzinfo=UTC),
    zone=ZoneInfo("Europe/Paris"),
    kind="sale",
    standing=Standing.DONE,
    total=eur(47_40),
    items=(
        Item(name="Espresso", quantity=2, unit=eur(2_50), total=eur(5_00)),
        Item(name="Tarte", quantity=1, unit=eur(39_00), total=eur(39_00)),
    ),
    taxes=(Tax("TVA", Decimal("5.5"), eur(2_29)),),
    tip=eur(3_40),
    card_brand="visa",
    card_last4="4242",
    entry_mode="contactless",
    verification="none",
    approval_code="087612",
    application_label="VISA CREDIT",
    aid="A0000000031010",
    terminal_id="52500001",
    receipt_number=17,
    reference="A-1049",
    customer="Éloïse Dupont",
    cashier="Jules",
    fields=(("Table", "Table", "12"), ("Room", "Chambre", "7")),
    settled=Money(51_02, "USD"),
    settled_rate=Decimal("1.0763713080"),
    printed=("TVR 0000008000", "TSI E800"),
)


def written(form: str, receipt: Receipt, look: Look = EVERYTHING, language: str = "fr") -> str:
    """The words of a form."""
    sheet = sheet_of(receipt, look, language)
    if form == "pdf":
        return words_in(as_pdf(sheet, receipt.at))
    text = {
        "page": lambda: as_page(sheet),
        "mail": lambda: as_mail(sheet, subject="S", customer=receipt.customer),
        "text": lambda: as_text(sheet),
    }[form]()
    return " ".join(text.split())


def picture(kind: str = "PNG", size: tuple[int, int] = (900, 300)) -> bytes:
    out = BytesIO()
    Image.new("RGB", size, (42, 59, 183)).save(out, kind)
    return out.getvalue()


@pytest.mark.parametrize("form", FORMS)
def test_a_sale_is_told_whole_in_french(form: str) -> None:
    text = written(form, SALE)

    for told in (
        "Café Lumière", "Lyon", "23 nov. 2026, 16:04:12", "2 × Espresso", "5,00 €", "Tarte",
        "Hors taxes", "41,71 €", "TVA 5,5 %", "2,29 €", "Pourboire", "3,40 €", "47,40 €",
        "Visa •••• 4242", "sans contact", "non requise", "087612", "VISA CREDIT",
        "A0000000031010", "52500001", "A-1049", "Éloïse Dupont", "Jules", "Chambre",
        "51,02 $US au taux de 1,076371", "TVR 0000008000", "TSI E800", "À bientôt",
        "12 rue de la Paix", SALE.id,
    ):  # fmt: skip
        assert told in text.replace("\u202f", " ").replace("\u00a0", " "), told


@pytest.mark.parametrize("form", FORMS)
def test_the_same_sale_in_english_has_no_french_in_it(form: str) -> None:
    text = written(form, replace(SALE, taxes=()), Look(shown=frozenset(ReceiptField)), "en")

    for told in ("€47.40", "Approval code", "no check needed", "Served by", "Room", "Tip"):
        assert told in text
    assert "Pourboire" not in text
    assert "Chambre" not in text


def test_every_text_has_french_and_keeps_its_places() -> None:
    for english in wording.TEXTS:
        assert wording.say(english, "fr").count("%s") == english.count("%s")
    shown = [*wording.METHODS.values(), *wording.KINDS.values(), *wording.ENTRY_MODES.values()]
    assert set(shown) | set(wording.VERIFICATIONS.values()) <= set(wording.TEXTS)


def test_what_the_shop_does_not_want_is_left_out() -> None:
    text = written("text", SALE, Look(shown=frozenset()), "en")

    for hidden in ("Espresso", "TVA", "A-1049", "Dupont", "Jules", "087612", "A000", "TVR", "$"):
        assert hidden not in text
    assert "Visa •••• 4242" in text
    assert "€47.40" in text


def test_the_settled_amount_and_the_cashier_are_usually_the_shops_affair() -> None:
    text = written("text", SALE, Look(), "en")

    assert "Settled" not in text
    assert "Jules" not in text
    assert "A-1049" in text
    assert ReceiptField.EMV in USUALLY_SHOWN


@pytest.mark.parametrize("form", FORMS)
def test_what_people_write_is_text_and_nothing_else(form: str) -> None:
    nasty = "<script>alert(1)</script>{{ 7*7 }}"
    receipt = replace(
        SALE, merchant=nasty, customer=nasty, reference=nasty,
        items=(Item(name=nasty, quantity=1, unit=eur(1), total=eur(1)),),
    )  # fmt: skip

    sheet = sheet_of(receipt, replace(EVERYTHING, message=nasty, footer=nasty), "en")

    assert "<script" not in as_page(sheet)
    assert "<script" not in as_mail(sheet, subject=nasty, customer=nasty)
    assert nasty.partition("{")[0] in as_text(sheet).replace("\n", "")
    assert "49" not in words_in(as_pdf(sheet, SALE.at)).replace(SALE.id, "").replace("A-1049", "")


@pytest.mark.parametrize(
    ("standing", "warning"),
    [
        (Standing.HELD, "Amount held, not yet charged"),
        (Standing.ON_ITS_WAY, "Bank debit on its way, not yet paid"),
        (Standing.NOT_TAKEN, "Nothing was charged"),
    ],
)
@pytest.mark.parametrize("form", FORMS)
def test_money_that_did_not_move_is_not_called_paid(
    form: str, standing: Standing, warning: str
) -> None:
    assert warning in written(form, replace(SALE, standing=standing), language="en")
    assert warning not in written(form, SALE, language="en")


@pytest.mark.parametrize("form", FORMS)
def test_a_refund_is_negative_and_names_its_sale(form: str) -> None:
    refund = Receipt(
        id="tx_1", merchant="Café Lumière", place="Lyon", at=SALE.at, zone=SALE.zone,
        kind="refund", standing=Standing.DONE, total=eur(10_00), card_brand="visa",
        card_last4="4242", original=Original(id=SALE.id, at=SALE.at, amount=SALE.total),
    )  # fmt: skip

    text = written(form, refund, language="en")

    assert "−€10.00" in text
    assert "sale of 23 Nov 2026, €47.40" in text
    assert "Paid back to" in text
    subject = subject_of(refund, sheet_of(refund, EVERYTHING, "en"))
    assert subject == "Refund from Café Lumière: €10.00"


def test_a_sale_that_went_back_in_part_says_so() -> None:
    text = written("text", replace(SALE, given_back=eur(10_00)), language="en")

    assert "of which given back" in text
    assert "€10.00" in text


@pytest.mark.parametrize(
    ("currency", "minor", "shown"), [("JPY", 1200, "JP¥1,200"), ("KWD", 12345, "KWD 12.345")]
)
def test_each_currency_has_its_own_digits(currency: str, minor: int, shown: str) -> None:
    receipt = Receipt(
        id="tx_1", merchant="M", place="", at=SALE.at, zone=UTC, kind="sale",
        standing=Standing.DONE, total=Money(minor, currency),
    )  # fmt: skip

    assert shown in written("text", receipt, language="en").replace("\u00a0", " ")


def test_text_is_as_wide_as_the_paper() -> None:
    long = replace(SALE, reference="R" * 70, merchant="The " + "very " * 20 + "long name")

    lines = as_text(sheet_of(long, EVERYTHING, "fr")).splitlines()

    assert max(map(len, lines)) <= 44


def test_a_page_stands_alone_and_a_mail_brings_its_logo() -> None:
    look = replace(EVERYTHING, logo=logo_from(picture()))
    sheet = sheet_of(SALE, look, "fr")

    assert 'src="data:image/png;base64,' in as_page(sheet)
    assert f'src="cid:{LOGO_ID}"' in as_mail(sheet, subject="S", customer="")
    for html in (as_page(sheet), as_mail(sheet, subject="S", customer="")):
        assert 'lang="fr"' in html
        assert "http" not in html
        assert "<script" not in html


def test_the_same_receipt_is_the_same_file_of_one_page() -> None:
    sheet = sheet_of(SALE, replace(EVERYTHING, logo=logo_from(picture())), "fr")

    pdf = as_pdf(sheet, SALE.at)

    assert pdf == as_pdf(sheet, SALE.at)
    assert pages_of(pdf) == 1
    assert len(pdf) < 60_000


def test_a_long_order_goes_on_on_the_next_page_with_every_line() -> None:
    items = tuple(
        Item(
            name=f"Article number {n} with quite a long name", quantity=1, unit=eur(n), total=eur(n)
        )
        for n in range(1, 90)
    )

    pdf = as_pdf(sheet_of(replace(SALE, items=items), EVERYTHING, "en"), SALE.at)

    text = words_in(pdf)
    assert pages_of(pdf) > 1
    assert [n for n in range(1, 90) if f"Article number {n} " not in text] == []
    assert "€47.40" in text


def test_names_of_the_neighbours_are_written_with_their_letters() -> None:
    receipt = replace(SALE, customer="Łukasz Ångström Şahin Čapek Ελένη Иван")

    assert "Łukasz Ångström Şahin Čapek Ελένη Иван" in written("pdf", receipt)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_logo_is_drawn_anew_and_small(kind: str) -> None:
    logo = logo_from(picture(kind, (3000, 1000)))

    assert logo.png.startswith(b"\x89PNG")
    assert (logo.width, logo.height) == (640, 213)


def test_nothing_that_came_along_with_a_logo_is_kept() -> None:
    out = BytesIO()
    exif = Image.Exif()
    exif[0x9286] = "a secret comment"
    Image.new("RGB", (40, 40)).save(out, "JPEG", exif=exif, comment=b"another secret")
    assert b"secret" in out.getvalue()

    assert b"secret" not in logo_from(out.getvalue() + b"secret after the end").png


@pytest.mark.parametrize(
    "upload",
    [
        b"",
        b"not a picture",
        picture()[:200],
        picture("GIF"),
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"x" * (LARGEST_UPLOAD + 1),
        picture("PNG", (8000, 8000)),
    ],
    ids=["nothing", "text", "cut off", "gif", "svg", "too large", "too many pixels"],
)
def test_a_file_that_is_no_logo_is_refused(upload: bytes) -> None:
    with pytest.raises(LogoRefused):
        logo_from(upload)


def test_a_card_number_in_a_template_is_masked() -> None:
    look = checked_look(
        message="4242 4242 4242 4242", footer="", shown=["items"], language="en",
        reply_to="", logo=None,
    )  # fmt: skip

    assert look.message == "4242 42** **** 4242"


def test_a_saved_receipt_is_called_by_its_day() -> None:
    late = replace(SALE, at=datetime(2026, 11, 23, 23, 30, tzinfo=UTC))

    assert file_name(late, "pdf") == "receipt-2026-11-24-y6z8a0.pdf"
