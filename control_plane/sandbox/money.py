"""Amounts as Stripe counts them: currencies, least amounts, exchange and fees."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

from control_plane.sandbox.errors import ApiError

_ZERO_DECIMAL = frozenset(
    {
        "bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga", "pyg", "rwf", "ugx", "vnd", "vuv", "xaf", "xof",
        "xpf",
    }
)  # fmt: skip
_THREE_DECIMAL = frozenset(["bhd", "jod", "kwd", "omr", "tnd"])

#: What one US dollar buys; the sandbox's fixed rates.
_PER_DOLLAR = {
    name: Decimal(rate)
    for name, rate in {
        "usd": "1", "eur": "0.92", "gbp": "0.79", "cad": "1.36", "aud": "1.52", "nzd": "1.66", "chf": "0.88",
        "jpy": "151", "krw": "1350", "cny": "7.2", "hkd": "7.8", "sgd": "1.35", "inr": "83.2", "sek": "10.5",
        "nok": "10.7", "dkk": "6.87", "pln": "3.95", "czk": "23.3", "huf": "362", "ron": "4.58", "bgn": "1.8",
        "isk": "138", "try": "32.2", "ils": "3.7", "aed": "3.6725", "sar": "3.75", "qar": "3.64", "zar": "18.6",
        "mxn": "16.7", "brl": "5.05", "clp": "945", "cop": "3900", "pen": "3.72", "ars": "870", "uyu": "38.6",
        "thb": "36.3", "myr": "4.74", "idr": "15850", "php": "56.3", "vnd": "24800", "twd": "32", "bhd": "0.376",
        "jod": "0.709", "kwd": "0.307", "omr": "0.385", "tnd": "3.11", "egp": "47.5", "kes": "131", "ngn": "1300",
        "mad": "10", "xof": "603", "xaf": "603", "xpf": "109.7", "bif": "2860", "djf": "177.7", "gnf": "8600",
        "kmf": "453", "mga": "4400", "pyg": "7300", "rwf": "1290", "ugx": "3880", "vuv": "119",
    }.items()
}  # fmt: skip

_LEAST = {
    "usd": 50, "aed": 200, "aud": 50, "brl": 50, "cad": 50, "chf": 50, "czk": 1500, "dkk": 250, "eur": 50,
    "gbp": 30, "hkd": 400, "huf": 17500, "inr": 50, "jpy": 50, "mxn": 1000, "myr": 200, "nok": 300, "nzd": 50,
    "pln": 200, "ron": 200, "sek": 300, "sgd": 50, "thb": 1000,
}  # fmt: skip
_SIGNS = {"usd": "$", "eur": "€", "gbp": "£", "jpy": "¥", "cad": "$", "aud": "$"}
_MOST = 99_999_999

#: Account currency -> (percent, fixed part) for cards; and the additions in percent.
_CARD_FEES = {
    "usd": (Decimal("2.9"), 30),
    "cad": (Decimal("2.9"), 30),
    "eur": (Decimal("1.5"), 25),
    "gbp": (Decimal("1.5"), 20),
}
_FOREIGN_CARD = Decimal("1.5")
_CONVERSION = Decimal(1)
_IN_PERSON = (Decimal("2.7"), 5)


def digits(currency: str) -> int:
    """Minor digits of a currency as the API counts it."""
    if currency in _ZERO_DECIMAL:
        return 0
    return 3 if currency in _THREE_DECIMAL else 2


def check_currency(currency: str) -> str:
    """The currency in lower case. Raises ApiError for one that is not supported."""
    if currency.lower() not in _PER_DOLLAR:
        raise ApiError(
            f"Invalid currency: {currency}. Stripe currently supports these currencies: "
            f"{', '.join(_PER_DOLLAR)}",
            param="currency",
        )
    return currency.lower()


def check_amount(amount: int, currency: str, *, param: str = "amount") -> None:
    """Raises ApiError for an amount that no payment can have."""
    if amount < 1:
        raise ApiError(
            "This value must be greater than or equal to 1.",
            code="parameter_invalid_integer",
            param=param,
        )
    if digits(currency) == 3 and amount % 10:
        raise ApiError(
            f"Invalid amount: {currency} amounts have three decimals of which the last must be 0.",
            code="parameter_invalid_integer",
            param=param,
        )
    if amount > _MOST and currency not in ("idr", "vnd", "cop", "krw"):
        raise ApiError(
            f"Amount must be no more than {spoken(_MOST, currency)}",
            code="amount_too_large",
            param=param,
        )
    least = least_amount(currency)
    if amount < least:
        raise ApiError(
            f"Amount must be at least {spoken(least, currency)}",
            code="amount_too_small",
            param=param,
        )


def least_amount(currency: str) -> int:
    """The smallest charge; where Stripe names none, what half a dollar is."""
    return _LEAST.get(currency) or exchanged(50, "usd", currency)[0]


def spoken(amount: int, currency: str) -> str:
    """``$0.50 usd``, as error messages say it."""
    return f"{_SIGNS.get(currency, '')}{Decimal(amount).scaleb(-digits(currency)):,f} {currency}"


def rate(source: str, target: str) -> Decimal:
    """How much of ``target`` one of ``source`` is."""
    return (_PER_DOLLAR[target] / _PER_DOLLAR[source]).quantize(Decimal("0.000001"))


def rates_of(currency: str) -> dict[str, float]:
    """What one of each other currency is in this one."""
    return {other: float(rate(currency, other)) for other in _PER_DOLLAR}


def exchanged(amount: int, source: str, target: str) -> tuple[int, Decimal]:
    """The amount in the other currency's minor units, and the rate between whole units."""
    factor = rate(source, target)
    whole = Decimal(amount).scaleb(-digits(source)) * factor
    return _rounded(whole.scaleb(digits(target))), factor


def fee_of(
    amount: int, account_currency: str, *, method: str, foreign: bool, converted: bool
) -> int:
    """Stripe's fee on an amount in the account's currency."""
    if method == "us_bank_account":
        return min(_rounded(Decimal(amount) * Decimal("0.008")), 500)
    if method == "sepa_debit":
        return 35
    standard = _CARD_FEES.get(account_currency, (Decimal("2.9"), 30))
    percent, fixed = _IN_PERSON if method.endswith("_present") else standard
    percent += (_FOREIGN_CARD if foreign else 0) + (_CONVERSION if converted else 0)
    return _rounded(Decimal(amount) * percent / 100) + fixed


def _rounded(value: Decimal) -> int:
    return int(value.quantize(Decimal(1), ROUND_HALF_UP))
