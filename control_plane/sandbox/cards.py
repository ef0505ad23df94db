"""Stripe's test cards and test bank accounts: what each does.

Source: docs.stripe.com/testing and docs.stripe.com/terminal/references/testing.

A number is looked at once, when it is turned into a payment method; objects keep the *name* of the test card only.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from control_plane.sandbox.errors import ApiError


class Authentication(StrEnum):
    """When a card asks for 3-D Secure."""

    NOT_SUPPORTED = "not_supported"
    #: Only when asked for; then it passes without a challenge.
    OPTIONAL = "optional"
    #: On every payment, set up or not.
    ALWAYS = "always"
    #: Until the card was set up for off-session use.
    UNLESS_SET_UP = "unless_set_up"
    #: On session always; off session it counts as set up.
    ON_SESSION = "on_session"


@dataclass(frozen=True, slots=True)
class Decline:
    """How the bank says no: the error's code, the decline code, what to do, the network's code."""

    code: str
    decline_code: str | None
    advice: str | None
    network_code: str | None
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TestCard:
    """One test card. ``name`` is what stays of it in the database."""

    name: str
    number: str
    brand: str = "visa"
    funding: str = "credit"
    country: str = "US"
    decline: Decline | None = None
    #: Attaching and setting up works although charging does not.
    attaches: bool = False
    authentication: Authentication = Authentication.OPTIONAL
    address_check: str = "pass"
    postal_check: str = "pass"
    cvc_check: str = "pass"
    #: fraudulent, product_not_received, inquiry or early_fraud_warning.
    dispute: str | None = None
    #: ``pending`` refunds that succeed later, ``fails`` ones that fail after they succeeded.
    refund: str | None = None
    risk: str = "normal"
    available_at_once: bool = False


GENERIC = Decline(
    "card_declined", "generic_decline", "try_again_later", "01", "Your card was declined."
)
_DECLINES = {
    "insufficient_funds": Decline(
        "card_declined",
        "insufficient_funds",
        "try_again_later",
        "51",
        "Your card has insufficient funds.",
    ),
    "lost_card": Decline(
        "card_declined", "lost_card", "do_not_try_again", "41", "Your card was declined."
    ),
    "stolen_card": Decline(
        "card_declined", "stolen_card", "do_not_try_again", "43", "Your card was declined."
    ),
    "fraudulent": Decline(
        "card_declined", "fraudulent", "do_not_try_again", "59", "Your card was declined."
    ),
    "card_velocity_exceeded": Decline(
        "card_declined",
        "card_velocity_exceeded",
        "try_again_later",
        "61",
        "Your card was declined for making repeated attempts too frequently or exceeding its amount limit.",
    ),
    "expired_card": Decline(
        "expired_card", "expired_card", "do_not_try_again", "54", "Your card has expired."
    ),
    "incorrect_cvc": Decline(
        "incorrect_cvc",
        "incorrect_cvc",
        "confirm_card_data",
        "N7",
        "Your card's security code is incorrect.",
    ),
    "processing_error": Decline(
        "processing_error",
        "processing_error",
        "try_again_later",
        "06",
        "An error occurred while processing your card. Try again in a little bit.",
    ),
    "authentication_required": Decline(
        "authentication_required",
        "authentication_required",
        None,
        "1A",
        "Your card was declined. This transaction requires authentication.",
    ),
    "generic_decline": GENERIC,
    # What card readers get by the amount's last two digits.
    "call_issuer": Decline(
        "card_declined", "call_issuer", "try_again_later", "01", "Your card was declined."
    ),
    "incorrect_pin": Decline(
        "card_declined", "incorrect_pin", "try_again_later", "55", "Your card was declined."
    ),
    "withdrawal_count_limit_exceeded": Decline(
        "card_declined",
        "withdrawal_count_limit_exceeded",
        "try_again_later",
        "65",
        "Your card was declined.",
    ),
    "pin_try_exceeded": Decline(
        "card_declined", "pin_try_exceeded", "do_not_try_again", "75", "Your card was declined."
    ),
    "offline_pin_required": Decline(
        "card_declined", "offline_pin_required", "try_again_later", "70", "Your card was declined."
    ),
    "online_or_offline_pin_required": Decline(
        "card_declined",
        "online_or_offline_pin_required",
        "try_again_later",
        "70",
        "Your card was declined.",
    ),
    "test_mode_live_card": Decline(
        "card_declined",
        "test_mode_live_card",
        None,
        None,
        "Your card was declined. Your request was in test mode, but used a non test (live) card. For a list of valid "
        "test cards, visit: https://stripe.com/docs/testing.",
    ),
}


def decline_of(decline_code: str) -> Decline:
    """How that decline reads."""
    return _DECLINES[decline_code]


_D = _DECLINES
_A = Authentication
_CARDS = (
    # Brands.
    TestCard(name="visa", number="4242424242424242"),
    TestCard(name="visa_debit", number="4000056655665556", funding="debit"),
    TestCard(name="mastercard", number="5555555555554444", brand="mastercard"),
    TestCard(name="mastercard_2_series", number="2223003122003222", brand="mastercard"),
    TestCard(
        name="mastercard_debit", number="5200828282828210", brand="mastercard", funding="debit"
    ),
    TestCard(
        name="mastercard_prepaid", number="5105105105105100", brand="mastercard", funding="prepaid"
    ),
    TestCard(name="amex", number="378282246310005", brand="amex", authentication=_A.NOT_SUPPORTED),
    TestCard(
        name="amex_second", number="371449635398431", brand="amex", authentication=_A.NOT_SUPPORTED
    ),
    TestCard(name="discover", number="6011111111111117", brand="discover"),
    TestCard(name="discover_second", number="6011000990139424", brand="discover"),
    TestCard(name="discover_debit", number="6011981111111113", brand="discover", funding="debit"),
    TestCard(name="diners", number="3056930009020004", brand="diners"),
    TestCard(name="diners_14", number="36227206271667", brand="diners"),
    TestCard(name="jcb", number="3566002020360505", brand="jcb"),
    TestCard(name="unionpay", number="6200000000000005", brand="unionpay"),
    TestCard(name="unionpay_debit", number="6200000000000047", brand="unionpay", funding="debit"),
    TestCard(name="cartes_bancaires", number="4000002500001001", country="FR"),
    TestCard(
        name="interac", number="4506445006931933", brand="interac", funding="debit", country="CA"
    ),
    TestCard(
        name="eftpos_au",
        number="6280000360000978",
        brand="eftpos_au",
        funding="debit",
        country="AU",
    ),
    TestCard(
        name="girocard",
        number="4711009900000316877",
        brand="girocard",
        funding="debit",
        country="DE",
    ),
    # Countries.
    TestCard(name="ca", number="4000001240000000", country="CA"),
    TestCard(name="br", number="4000000760000002", country="BR"),
    TestCard(name="mx", number="4000004840008001", country="MX"),
    TestCard(name="gb", number="4000008260000000", country="GB"),
    TestCard(name="fr", number="4000002500000003", country="FR"),
    TestCard(name="de", number="4000002760000016", country="DE"),
    TestCard(name="at", number="4000000400000008", country="AT"),
    TestCard(name="be", number="4000000560000004", country="BE"),
    TestCard(name="es", number="4000007240000007", country="ES"),
    TestCard(name="it", number="4000003800000008", country="IT"),
    TestCard(name="nl", number="4000005280000002", country="NL"),
    TestCard(name="ch", number="4000007560000009", country="CH"),
    TestCard(name="au", number="4000000360000006", country="AU"),
    TestCard(name="jp", number="4000003920000003", country="JP"),
    TestCard(name="sg", number="4000007020000003", country="SG"),
    # Declines.
    TestCard(name="chargeDeclined", number="4000000000000002", decline=GENERIC),
    TestCard(
        name="chargeDeclinedInsufficientFunds",
        number="4000000000009995",
        decline=_D["insufficient_funds"],
    ),
    TestCard(name="chargeDeclinedLostCard", number="4000000000009987", decline=_D["lost_card"]),
    TestCard(name="chargeDeclinedStolenCard", number="4000000000009979", decline=_D["stolen_card"]),
    TestCard(
        name="chargeDeclinedExpiredCard", number="4000000000000069", decline=_D["expired_card"]
    ),
    TestCard(
        name="chargeDeclinedIncorrectCvc",
        number="4000000000000127",
        decline=_D["incorrect_cvc"],
        cvc_check="fail",
    ),
    TestCard(
        name="chargeDeclinedProcessingError",
        number="4000000000000119",
        decline=_D["processing_error"],
    ),
    TestCard(
        name="chargeDeclinedVelocityLimitExceeded",
        number="4000000000006975",
        decline=_D["card_velocity_exceeded"],
    ),
    TestCard(name="chargeCustomerFail", number="4000000000000341", decline=GENERIC, attaches=True),
    TestCard(name="live", number="", decline=_D["test_mode_live_card"]),
    # Checks and risk.
    TestCard(name="avsFail", number="4000000000000010", address_check="fail", postal_check="fail"),
    TestCard(name="avsLine1Fail", number="4000000000000028", address_check="fail"),
    TestCard(name="avsZipFail", number="4000000000000036", postal_check="fail"),
    TestCard(
        name="avsUnchecked",
        number="4000000000000044",
        address_check="unavailable",
        postal_check="unavailable",
    ),
    TestCard(name="cvcCheckFail", number="4000000000000101", cvc_check="fail"),
    TestCard(name="riskLevelElevated", number="4000000000009235", risk="elevated"),
    TestCard(
        name="riskLevelHighest", number="4000000000004954", risk="highest", decline=_D["fraudulent"]
    ),
    TestCard(
        name="radarBlock", number="4100000000000019", risk="highest", decline=_D["fraudulent"]
    ),
    # What happens later.
    TestCard(name="createDispute", number="4000000000000259", dispute="fraudulent"),
    TestCard(
        name="createDisputeProductNotReceived",
        number="4000000000002685",
        dispute="product_not_received",
    ),
    TestCard(name="createDisputeInquiry", number="4000000000001976", dispute="inquiry"),
    TestCard(
        name="createIssuerFraudRecord", number="4000000000005423", dispute="early_fraud_warning"
    ),
    TestCard(name="pendingRefund", number="4000000000007726", refund="pending"),
    TestCard(name="refundFail", number="4000000000005126", refund="fails"),
    TestCard(name="bypassPending", number="4000000000000077", available_at_once=True),
    TestCard(
        name="bypassPendingInternational",
        number="4000003720000278",
        country="IE",
        available_at_once=True,
    ),
    # 3-D Secure.
    TestCard(
        name="authenticationRequiredOnSetup",
        number="4000002500003155",
        country="FR",
        authentication=_A.UNLESS_SET_UP,
    ),
    TestCard(
        name="authenticationRequired",
        number="4000002760003184",
        country="DE",
        authentication=_A.ALWAYS,
    ),
    TestCard(
        name="authenticationRequiredSetupForOffSession",
        number="4000003800000446",
        country="IT",
        authentication=_A.ON_SESSION,
    ),
    TestCard(
        name="authenticationRequiredChargeDeclinedInsufficientFunds",
        number="4000008260003178",
        country="GB",
        authentication=_A.ALWAYS,
        decline=_D["insufficient_funds"],
        attaches=True,
    ),
    TestCard(
        name="threeDSecureRequiredChargeDeclined",
        number="4000008400001629",
        authentication=_A.ALWAYS,
        decline=GENERIC,
        attaches=True,
    ),
    TestCard(name="threeDSecure2Required", number="4000000000003220", authentication=_A.ALWAYS),
    TestCard(name="threeDSecureRequired", number="4000000000003063", authentication=_A.ALWAYS),
    TestCard(name="threeDSecureOptional", number="4000000000003055"),
    TestCard(name="threeDSecureOptionalProcessingError", number="4000000000003097"),
    # Card readers.
    TestCard(name="offlinePin", number="4001007020000002", country="SG"),
    TestCard(name="offlinePinSca", number="4000008260000075", country="GB"),
    TestCard(name="onlinePin", number="4001000360000005", country="AU"),
    TestCard(name="onlinePinSca", number="4000002760000008", country="DE"),
)
_BY_NUMBER = {card.number: card for card in _CARDS if card.number}
_BY_NAME = {card.name: card for card in _CARDS}
#: Other names that Stripe's ready-made payment methods have.
_ALIASES = {
    "threeDSecureRequiredOnSetup": "authenticationRequiredOnSetup",
    "visa_chargeDeclined": "chargeDeclined",
    "visa_chargeDeclinedInsufficientFunds": "chargeDeclinedInsufficientFunds",
    "visa_chargeDeclinedLostCard": "chargeDeclinedLostCard",
    "visa_chargeDeclinedStolenCard": "chargeDeclinedStolenCard",
    "visa_chargeDeclinedExpiredCard": "chargeDeclinedExpiredCard",
    "visa_chargeDeclinedIncorrectCvc": "chargeDeclinedIncorrectCvc",
    "visa_chargeDeclinedProcessingError": "chargeDeclinedProcessingError",
    "visa_chargeDeclinedVelocityLimitExceeded": "chargeDeclinedVelocityLimitExceeded",
    "us": "visa",
}


def by_name(name: str) -> TestCard:
    """The card that an object remembers. Raises KeyError."""
    return _BY_NAME[_ALIASES.get(name, name)]


def has_name(name: str) -> bool:
    """Whether there is a ready-made card ``pm_card_<name>``."""
    return _ALIASES.get(name, name) in _BY_NAME


def of_number(number: str) -> TestCard:
    """The test card of a typed number. Raises ApiError (402) for one that is no card number at all."""
    digits = number.replace(" ", "").replace("-", "")
    if not (digits.isascii() and digits.isdecimal() and 12 <= len(digits) <= 19):
        raise card_error(
            "invalid_number", "The card number is not a valid credit card number.", "number"
        )
    if not _passes_luhn(digits):
        raise card_error("incorrect_number", "Your card number is incorrect.", "number")
    return _BY_NUMBER.get(digits, _BY_NAME["live"])


def card_error(code: str, message: str, param: str) -> ApiError:
    """A card that can be refused before any bank is asked."""
    return ApiError(message, status=402, type="card_error", code=code, param=param)


def _passes_luhn(digits: str) -> bool:
    doubled = (sum(divmod(2 * int(one), 10)) for one in digits[-2::-2])
    return (sum(doubled) + sum(int(one) for one in digits[-1::-2])) % 10 == 0


@dataclass(frozen=True, slots=True)
class TestAccount:
    """A test bank account: ``outcome`` is succeeds, stays_processing, disputes, or a failure code."""

    name: str
    outcome: str
    message: str = ""


_CLOSED = ("account_closed", "The customer's bank account has been closed.")
_ACCOUNTS = {
    "000123456789": TestAccount("success", "succeeds"),
    "000111111113": TestAccount("accountClosed", *_CLOSED),
    "000111111116": TestAccount(
        "noAccount", "no_account", "The bank account could not be located."
    ),
    "000222222227": TestAccount(
        "insufficientFunds",
        "insufficient_funds",
        "The customer's account has insufficient funds to cover this payment.",
    ),
    "000333333335": TestAccount(
        "debitNotAuthorized",
        "debit_not_authorized",
        "The customer has notified their bank that this payment was unauthorized.",
    ),
    "000000000009": TestAccount("processing", "stays_processing"),
    "000555555559": TestAccount("dispute", "disputes"),
}
_IBANS = {
    "DE62370400440532013001": TestAccount(
        "sepaFails", "generic_could_not_process", "The bank could not process this payment."
    ),
    "DE78370400440532013004": TestAccount(
        "sepaFailsLater", "generic_could_not_process", "The bank could not process this payment."
    ),
    "DE35370400440532013002": TestAccount("sepaDisputes", "disputes"),
    "DE51370400440532013005": TestAccount(
        "sepaInsufficientFunds",
        "insufficient_funds",
        "The customer's account has insufficient funds to cover this payment.",
    ),
}
_ACCOUNTS_BY_NAME = {one.name: one for one in (*_ACCOUNTS.values(), *_IBANS.values())}


def account_of(number: str) -> TestAccount:
    """The test account of a US account number; an unknown one works."""
    return _ACCOUNTS.get(number, _ACCOUNTS["000123456789"])


def account_of_iban(iban: str) -> TestAccount:
    """The test account of an IBAN; an unknown one works. Raises ApiError (400) when the check digits are wrong."""
    compact = iban.replace(" ", "").upper()
    moved = compact[4:] + compact[:4]
    valid = compact.isascii() and compact.isalnum() and 15 <= len(compact) <= 34
    if not valid or int("".join(str(int(one, 36)) for one in moved)) % 97 != 1:
        raise ApiError(
            "The IBAN you provided is invalid.",
            code="invalid_bank_account_iban",
            param="sepa_debit[iban]",
        )
    return _IBANS.get(compact, _ACCOUNTS["000123456789"])


def account_named(name: str) -> TestAccount:
    """The account that an object remembers. Raises KeyError."""
    return _ACCOUNTS_BY_NAME[name]


def has_account(name: str) -> bool:
    """Whether there is a ready-made account ``pm_usBankAccount_<name>``."""
    return name in _ACCOUNTS_BY_NAME
