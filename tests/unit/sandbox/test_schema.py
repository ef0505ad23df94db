"""Parameters are as strict as the SDK's own types say, at any depth."""

from __future__ import annotations

import pytest
from stripe.params import (
    PaymentIntentCreateParams,
    PaymentIntentUpdateParams,
    PaymentLinkCreateParams,
    WebhookEndpointCreateParams,
)

from control_plane.sandbox.errors import MalformedRequest
from control_plane.sandbox.forms import decode
from control_plane.sandbox.schema import gated, reader_of


def read(params: type, text: str) -> object:
    return reader_of(params)(decode(text), "")


def test_text_becomes_what_the_parameter_is() -> None:
    taken = read(
        PaymentIntentCreateParams,
        "amount=1250&currency=usd&confirm=true&off_session=recurring&metadata[order]=7"
        "&payment_method_options[card][moto]=true&expand[]=latest_charge",
    )

    assert taken == {
        "amount": 1250,
        "currency": "usd",
        "confirm": True,
        "off_session": "recurring",
        "metadata": {"order": "7"},
        "payment_method_options": {"card": {"moto": True}},
        "expand": ["latest_charge"],
    }


def test_an_empty_text_unsets_what_can_be_unset() -> None:
    taken = read(PaymentIntentUpdateParams, "receipt_email=&metadata=&metadata=")

    assert taken == {"receipt_email": None, "metadata": None}


@pytest.mark.parametrize(
    ("text", "code", "param"),
    [
        ("currency=usd", "parameter_missing", "amount"),
        ("amount=1.5&currency=usd", "parameter_invalid_integer", "amount"),
        ("amount=&currency=usd", "parameter_invalid_empty", "amount"),
        ("amount=5&currency=usd&confirm=yes", None, "confirm"),
        ("amount=5&currency=usd&prise=1", "parameter_unknown", "prise"),
        ("amount=5&currency=usd&capture_method=later", None, "capture_method"),
        ("amount=5&currency=usd&expand=latest_charge", None, "expand"),
        ("amount=5&currency=usd&metadata=x", None, "metadata"),
        ("amount=5&currency=usd&description[a]=x", None, "description"),
        (
            "amount=5&currency=usd&payment_method_options[card][mot]=true",
            "parameter_unknown",
            "payment_method_options[card][mot]",
        ),
    ],
)
def test_what_does_not_fit_is_refused_by_its_full_name(
    text: str, code: str | None, param: str
) -> None:
    with pytest.raises(MalformedRequest) as refused:
        read(PaymentIntentCreateParams, text)

    assert (refused.value.status, refused.value.code) == (400, code)
    assert refused.value.fields["param"] == param


def test_an_unknown_name_inside_a_list_says_which_member() -> None:
    with pytest.raises(MalformedRequest) as refused:
        read(PaymentLinkCreateParams, "line_items[0][quantity]=1&line_items[1][prise]=2")

    assert refused.value.fields["param"] == "line_items[1][prise]"
    assert "Did you mean price?" in refused.value.fields["message"]


def test_a_required_name_inside_a_list_is_missed() -> None:
    with pytest.raises(MalformedRequest) as refused:
        read(PaymentLinkCreateParams, "line_items[0][price]=p")

    assert refused.value.fields["param"] == "line_items[0][quantity]"


def test_a_list_of_choices_is_checked_member_by_member() -> None:
    with pytest.raises(MalformedRequest) as refused:
        read(WebhookEndpointCreateParams, "url=https://x&enabled_events[0]=charge.sold")

    assert refused.value.fields["param"] == "enabled_events[0]"


@pytest.mark.parametrize(
    ("text", "param"),
    [
        ("amount=5&currency=usd&metadata[" + "k" * 41 + "]=v", "metadata[" + "k" * 41 + "]"),
        ("amount=5&currency=usd&metadata[k]=" + "v" * 501, "metadata[k]"),
        ("amount=5&currency=usd" + "".join(f"&metadata[k{n}]=v" for n in range(51)), "metadata"),
    ],
)
def test_metadata_has_stripes_limits(text: str, param: str) -> None:
    with pytest.raises(MalformedRequest) as refused:
        read(PaymentIntentCreateParams, text)

    assert refused.value.fields["param"] == param


def test_without_a_schema_only_expand_is_taken() -> None:
    assert reader_of(None)(decode("expand[]=a"), "") == {"expand": ["a"]}

    with pytest.raises(MalformedRequest):
        reader_of(None)(decode("limit=1"), "")


def test_a_gated_parameter_is_seen_at_its_depth_only() -> None:
    form = decode("payment_method_options[card][moto]=true")

    assert gated(form, "payment_method_options[card][moto]")
    assert not gated(form, "payment_method_options[sepa_debit][moto]")
    assert not gated(decode("moto=true"), "payment_method_options[card][moto]")
