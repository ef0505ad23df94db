"""The words for a refusal."""

from __future__ import annotations

import re
import typing

import pytest
import stripe
import typing_extensions

from control_plane.virtual_terminal import declines
from control_plane.virtual_terminal.declines import DeclineWords, Rung, explain, explain_refund

#: https://docs.stripe.com/declines/codes
DECLINE_CODES = [
    "approve_with_id",
    "authentication_not_handled",
    "authentication_required",
    "call_issuer",
    "card_not_supported",
    "card_velocity_exceeded",
    "currency_not_supported",
    "do_not_honor",
    "do_not_try_again",
    "duplicate_transaction",
    "expired_card",
    "fraudulent",
    "generic_decline",
    "incorrect_address",
    "incorrect_cvc",
    "incorrect_number",
    "incorrect_pin",
    "incorrect_zip",
    "insufficient_funds",
    "invalid_account",
    "invalid_amount",
    "invalid_cvc",
    "invalid_expiry_month",
    "invalid_expiry_year",
    "invalid_number",
    "invalid_pin",
    "issuer_not_available",
    "lost_card",
    "merchant_blacklist",
    "mobile_device_authentication_required",
    "new_account_information_available",
    "no_action_taken",
    "not_permitted",
    "offline_pin_required",
    "online_or_offline_pin_required",
    "pickup_card",
    "pin_try_exceeded",
    "previously_declined_do_not_retry",
    "processing_error",
    "reenter_transaction",
    "restricted_card",
    "revocation_of_all_authorizations",
    "revocation_of_authorization",
    "security_violation",
    "service_not_allowed",
    "stolen_card",
    "stop_payment_order",
    "testmode_decline",
    "transaction_not_allowed",
    "try_again_later",
    "withdrawal_count_limit_exceeded",
]
#: Codes of the API that can be the reason why a payment, a capture, a refund or a reader's action came to nothing.
OF_PAYMENTS = re.compile(
    r"(payment_intent|payment_method|setup_intent|terminal|charge|card|bank_account|incorrect|capture)_\w+"
    r"|invalid_(number|cvc|expiry_\w+|charge_amount|card_type)|expired_\w+|processing_error|intent_\w+|amount_too_\w+"
    r"|authentication_\w+|debit_not_authorized|insufficient_funds|no_account|refer_to_customer|token_\w+"
)
ALL = sorted(declines.known_codes())


def api_codes() -> list[str]:
    """Every code that the SDK says an intent's last error may have."""
    return sorted(_literals(stripe.PaymentIntent.LastPaymentError.__annotations__["code"]))


def _literals(hint: object) -> set[str]:
    if typing.get_origin(hint) in (typing.Literal, typing_extensions.Literal):
        return set(typing.get_args(hint))
    return set().union(*map(_literals, typing.get_args(hint))) if typing.get_args(hint) else set()


@pytest.mark.parametrize("code", DECLINE_CODES)
def test_every_decline_code_of_the_bank_has_words(code: str) -> None:
    assert explain(code).is_known


def test_every_code_of_the_api_about_payments_has_words() -> None:
    about_payments = {code for code in api_codes() if OF_PAYMENTS.fullmatch(code)}

    assert len(about_payments) > 90
    assert {code for code in about_payments if not explain(code).is_known} == set()


@pytest.mark.parametrize(
    "code",
    [
        "address_check_failed",
        "connection_error",
        "customer_canceled",
        "cvc_check_failed",
        "moto_not_enabled",
        "not_processed",
        "not_reached",
        "payment_intent_unexpected_state",
        "postal_code_check_failed",
        "refused",
        "terminal_reader_timeout",
    ],
)
def test_what_we_call_the_end_of_an_attempt_ourselves_has_words_and_a_way_on(code: str) -> None:
    words = explain(code)

    assert words.is_known
    assert words.offers != ()


@pytest.mark.parametrize("code", ALL)
def test_words_are_whole_sentences_in_two_languages(code: str) -> None:
    words = explain(code)
    texts = [words.text, words.advice, words.text_fr, words.advice_fr]

    assert [text for text in texts if not re.fullmatch(r"[A-ZÀ-Ý].+\.", text)] == []
    assert len(set(texts)) == 4
    assert not re.search(r"\b(invalid|error|please|erreur|invalide)\b", " ".join(texts), re.I)
    # French quotes and apostrophes are typographic.
    assert "'" not in "".join(texts)


@pytest.mark.parametrize(
    "code", ["lost_card", "stolen_card", "pickup_card", "fraudulent", "merchant_blacklist"]
)
def test_nobody_at_the_counter_learns_that_a_card_was_reported(code: str) -> None:
    words = explain(code)

    assert words.text == "The bank declined the card."
    assert Rung.RETRY not in words.offers


@pytest.mark.parametrize(
    "code", ["charge_already_captured", "charge_already_refunded", "amount_too_small"]
)
def test_nothing_is_offered_where_nothing_helps(code: str) -> None:
    assert explain(code).offers == ()


def test_who_must_be_asked_by_their_bank_is_offered_what_lets_them_answer() -> None:
    assert explain("authentication_required").offers == (
        Rung.MOTO,
        Rung.READER,
        Rung.LINK,
        Rung.OTHER_CARD,
    )


def test_a_code_that_nobody_described_is_shown_by_its_name() -> None:
    words = explain("brand_new_code")

    assert not words.is_known
    assert "brand_new_code" in words.text
    assert "brand_new_code" in words.text_fr


@pytest.mark.parametrize("code", [None, ""])
def test_no_code_at_all_is_said_so(code: str | None) -> None:
    assert explain(code).text == "The payment was declined, and no reason was given."


@pytest.mark.parametrize(
    "reason",
    [
        "lost_or_stolen_card",
        "expired_or_canceled_card",
        "charge_for_pending_refund_disputed",
        "insufficient_funds",
        "declined",
        "merchant_request",
        "unknown",
    ],
)
def test_every_reason_why_a_refund_failed_has_words(reason: str) -> None:
    words = explain_refund(reason)

    assert isinstance(words, DeclineWords)
    assert words.is_known
    assert words.offers == ()


def test_the_same_word_means_another_thing_for_a_refund() -> None:
    assert explain("insufficient_funds").text == "There is not enough money in the account."
    assert (
        explain_refund("insufficient_funds").text
        == "There is not enough money in the Stripe account."
    )


def test_an_unknown_reason_of_a_refund_is_shown_by_its_name() -> None:
    assert "brand_new_reason" in explain_refund("brand_new_reason").text


def test_words_follow_the_language() -> None:
    words = explain("expired_card")

    assert words.in_language("fr")[0] == "La carte a expiré."
    assert words.in_language("en")[0] == "The card has expired."
    assert words.in_language("de")[0] == "The card has expired."
