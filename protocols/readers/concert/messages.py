"""The one request of Concert and its answer, as fixed positions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from protocols.errors import MalformedMessage, MoneyMismatch
from protocols.money import Money, currency_of_number
from protocols.readers import emv
from protocols.readers.protocol import Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping

REQUEST_LENGTH: Final = 34
SHORT_LENGTH: Final = 25
LONG_LENGTH: Final = 80
_REPORT: Final = slice(12, 67)
LARGEST_AMOUNT: Final = 99_999_999
PRIVATE_LENGTH: Final = 10

MODES: Final[Mapping[str, str]] = {
    "1": "card",
    "C": "cheque",
    "2": "Amex",
    "3": "Cetelem",
    "5": "Cofinoga",
    "6": "Diners",
    "8": "Franfinance",
    "9": "JCB",
    "A": "Accord",
    "O": "Moneo",
    "U": "China UnionPay",
    "F": "Fintrax",
    "0": "other",
}
DEBIT: Final = "0"
REFUND: Final = "2"
TRANSACTIONS: Final[Mapping[str, str]] = {
    DEBIT: "debit",
    "1": "credit",
    REFUND: "refund",
    "4": "automatic",
}
#: The answer comes when the transaction has ended.
AT_THE_END: Final = "A010"
AS_CONFIGURED: Final = "B010"
FORCE_ONLINE: Final = "B011"
DELAYS: Final[Mapping[str, str]] = {AT_THE_END: "at the end", "A011": "at once, without the result"}
AUTHORIZATIONS: Final[Mapping[str, str]] = {
    AS_CONFIGURED: "as configured",
    FORCE_ONLINE: "always online",
}
ACCEPTED: Final = 0
NOT_VERIFIED: Final = 9
RESULTS: Final[Mapping[int, tuple[Outcome, str]]] = {
    ACCEPTED: (Outcome.APPROVED, "accepted"),
    7: (Outcome.DECLINED, "refused, or stopped with the red key"),
    NOT_VERIFIED: (
        Outcome.LOST,
        "the terminal could not verify the payment; look at its duplicate ticket",
    ),
}


@dataclass(frozen=True, slots=True)
class Request:
    """What a till asks. ``private`` comes back if the firmware echoes it."""

    amount: Money
    cash_desk: str = "01"
    mode: str = "1"
    transaction: str = DEBIT
    private: str = ""
    delay: str = AT_THE_END
    authorization: str = AS_CONFIGURED
    wants_report: bool = False
    """Never set by a till of ours: the report can hold a whole card number."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a terminal says. ``had_report`` is True when it sent the long form, whose card data were dropped."""

    cash_desk: str
    result: int
    amount: Money
    mode: str
    private: str = ""
    had_report: bool = False


def encode_request(request: Request, number: int) -> bytes:
    """The body; ``number`` is the currency's. Raises MalformedMessage for a value that has no place."""
    private = request.private
    is_sound = (
        0 <= request.amount.minor <= LARGEST_AMOUNT
        and len(request.cash_desk) == 2
        and request.cash_desk.isdecimal()
        and request.mode in MODES
        and request.transaction in TRANSACTIONS
        and len(private) <= PRIVATE_LENGTH
        and (not private or (private.isascii() and private.isprintable()))
    )
    if not is_sound:
        raise MalformedMessage("the request cannot hold this", amount=request.amount)
    return (
        f"{request.cash_desk}{request.amount.minor:08d}{int(request.wants_report)}{request.mode}"
        f"{request.transaction}{number:03d}{private:<10}{request.delay}{request.authorization}"
    ).encode("ascii")


def decode_request(body: bytes) -> Request:
    """The inverse. Raises MalformedMessage."""
    text = _text(body, REQUEST_LENGTH)
    if text[11] not in MODES or text[12] not in TRANSACTIONS or text[10] not in "01":
        raise MalformedMessage("the request has an unknown mode", length=len(body))
    return Request(
        _money(text[2:10], text[13:16]),
        _desk(text),
        text[11],
        text[12],
        text[16:26].rstrip(),
        text[26:30],
        text[30:34],
        text[10] == "1",
    )


def encode_answer(answer: Answer, number: int, *, report: str | None = None) -> bytes:
    """The body, in the long form with a ``report``: for simulated terminals."""
    middle = "" if report is None else f"{report:<55.55}"
    return (
        f"{answer.cash_desk}{answer.result}{answer.amount.minor:08d}{answer.mode}{middle}"
        f"{number:03d}{answer.private:<10.10}"
    ).encode("ascii")


def decode_answer(body: bytes) -> Answer:
    """What a terminal says; the report of a long answer is dropped unread. Raises MalformedMessage."""
    had_report = len(body) == LONG_LENGTH
    if had_report:
        body = body[: _REPORT.start] + body[_REPORT.stop :]
    text = _text(body, SHORT_LENGTH)
    if not text[2].isdecimal():
        raise MalformedMessage("the answer has no result", length=len(body))
    return Answer(
        _desk(text),
        int(text[2]),
        _money(text[3:11], text[12:15]),
        text[11],
        emv.redact_card_numbers(text[15:].strip()),
        had_report,
    )


def judged(result: int) -> tuple[Outcome, str]:
    """What a result says. One that nobody documented proves nothing."""
    return RESULTS.get(result, (Outcome.LOST, f"the terminal told the unknown result {result}"))


def _text(body: bytes, length: int) -> str:
    if len(body) != length or not body.isascii():
        raise MalformedMessage("the message has another length", length=len(body))
    return body.decode("ascii")


def _desk(text: str) -> str:
    if not text[:2].isdecimal():
        raise MalformedMessage("the message has no cash desk")
    return text[:2]


def _money(amount: str, number: str) -> Money:
    if not (amount.isdecimal() and number.isdecimal()):
        raise MalformedMessage("the message has no amount")
    try:
        return Money(int(amount), currency_of_number(int(number)))
    except MoneyMismatch as error:
        raise MalformedMessage("the currency is not known", number=number) from error
