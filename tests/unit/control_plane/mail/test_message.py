"""Mails are checked where they are made: one address, one line a header, no card number."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from email import message_from_bytes
from email.policy import SMTP

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.mail.errors import AddressNotRecognised, MailTooLarge
from control_plane.mail.message import (
    LIMIT_MB,
    Attachment,
    Message,
    checked_address,
    checked_message,
    composed,
)

NUMBER = "4242 4242 4242 4242"
AT = datetime(2026, 11, 23, 15, 4, 12, tzinfo=UTC)
HELLO = Message(to="ada@example.com", subject="Hello", text="Good day.")


@pytest.mark.parametrize(
    ("written", "address"),
    [
        (" ada@example.com ", "ada@example.com"),
        ("Ada.Martin+till@Example.COM", "Ada.Martin+till@example.com"),
        ("o'brien@mail.example.co.uk", "o'brien@mail.example.co.uk"),
        ("ada@café.example", "ada@xn--caf-dma.example"),
    ],
)
def test_an_address_is_tidied(written: str, address: str) -> None:
    assert checked_address(written) == address


@pytest.mark.parametrize(
    "written",
    [
        "",
        "ada",
        "ada@",
        "@example.com",
        "ada@example",
        "ada@example..com",
        "ada@-example.com",
        "ada@127.0.0.1",
        "a..b@example.com",
        "ada b@example.com",
        "ada@example.com, bob@example.com",
        "Ada <ada@example.com>",
        "ada@example.com\nBcc: bob@example.com",
        "ada@example.com\r\nDATA",
        '"ada"@example.com',
        f"{'a' * 65}@example.com",
        f"ada@{'a.' * 130}com",
        "4242424242424242@example.com",
    ],
)
def test_what_is_no_single_address_is_refused(written: str) -> None:
    with pytest.raises(AddressNotRecognised):
        checked_address(written)


@given(st.text(max_size=300))
def test_any_text_is_an_address_on_one_line_or_refused(written: str) -> None:
    try:
        address = checked_address(written)
    except AddressNotRecognised:
        return
    assert address.isascii()
    assert not any(sign.isspace() or sign in '<>,;:\\"' for sign in address)


def test_line_ends_make_no_header() -> None:
    message = checked_message(
        replace(HELLO, subject="Hello\r\nBcc: bob@example.com", sender_name="Café\nTo: x@y.example")
    )

    mail = composed(message, mail_id="mml_1", sender="till@shop.example", at=AT)

    parsed = message_from_bytes(mail.as_bytes(), policy=SMTP)
    assert parsed["Bcc"] is None
    assert parsed["Subject"] == "Hello Bcc: bob@example.com"
    assert parsed.get_all("To") == ["ada@example.com"]


def test_a_header_that_is_not_ours_to_set_is_refused() -> None:
    with pytest.raises(ValueError, match="Bcc"):
        checked_message(replace(HELLO, headers={"Bcc": "bob@example.com"}))


def test_no_card_number_goes_out() -> None:
    message = checked_message(
        replace(HELLO, subject=f"Card {NUMBER}", text=f"Card {NUMBER}", html=f"<p>{NUMBER}</p>")
    )

    sent = composed(message, mail_id="mml_1", sender="till@shop.example", at=AT).as_string()
    assert message.text == "Card 4242 42** **** 4242"
    assert NUMBER not in sent
    assert "4242424242424242" not in sent


def test_a_mail_that_servers_would_refuse_for_its_size_is_refused_here() -> None:
    large = Attachment("a.pdf", "application/pdf", b"x" * (LIMIT_MB * 1024 * 1024))

    with pytest.raises(MailTooLarge):
        checked_message(replace(HELLO, attachments=(large,)))


def test_a_mail_travels_as_plain_ascii_and_arrives_as_it_was() -> None:
    pdf = Attachment("reçu/../1.pdf", "application/pdf", bytes(range(256)))
    message = checked_message(
        replace(
            HELLO,
            subject="Reçu de 12,34 €",
            text="Merci de votre visite.\n.\nÀ bientôt",
            html="<p>Merci : 12,34 €</p>",
            sender_name="Café Lumière",
            reply_to="shop@example.com",
            headers={"X-Omnitill-Kind": "receipt"},
            attachments=(pdf,),
        )
    )

    raw = composed(message, mail_id="mml_1", sender="till@shop.example", at=AT).as_bytes()

    assert raw.isascii()
    mail = message_from_bytes(raw, policy=SMTP)
    assert mail["From"] == "Café Lumière <till@shop.example>"
    assert mail["Subject"] == "Reçu de 12,34 €"
    assert mail["Message-ID"] == "<mml_1@shop.example>"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["Reply-To"] == "shop@example.com"
    assert mail["X-Omnitill-Kind"] == "receipt"
    plain, html = mail.get_body(("plain",)), mail.get_body(("html",))
    assert plain is not None
    assert html is not None
    assert plain.get_content() == "Merci de votre visite.\r\n.\r\nÀ bientôt\r\n"
    assert "12,34 €" in html.get_content()
    (attached,) = mail.iter_attachments()
    assert attached.get_filename() == "reçu-..-1.pdf"
    assert attached.get_payload(decode=True) == pdf.content
