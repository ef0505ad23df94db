"""What the acquirer does with requests, whoever brought them. Answers are CyberSource's JSON with an HTTP status."""

from __future__ import annotations

import base64
import binascii
import sqlite3
import time
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from control_plane.acquirer_sandbox.books import Books
from control_plane.acquirer_sandbox.opening import NotOpened, OpenedCard, open_card
from control_plane.acquirer_sandbox.outcomes import Manner, Outcome, outcome_of
from protocols.errors import MoneyMismatch
from protocols.money import exponent
from protocols.readers.emv import Tlv, encode_tlv

#: The data are to be decrypted here.
DESCRIPTOR: Final = base64.b64encode(b"FID=EMV.PAYMENT.API").decode()


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP answer. ``manner``: how it comes."""

    status: int
    body: dict[str, Any]
    manner: Manner = Manner.PLAIN


class Refused(Exception):
    """A request that CyberSource would answer with 4xx."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(reason)
        self.reply = Reply(
            status, {"status": "INVALID_REQUEST", "reason": reason, "message": message}
        )


class Acquirer:
    """One set of books for all merchants that have keys here."""

    def __init__(self, books: Books) -> None:
        self.books = books

    def authorize(self, organization: str, request: Mapping[str, Any]) -> Reply:
        """``POST /pts/v2/payments`` with ``capture`` false."""
        amount_minor, _ = _amount(request)
        transaction_id = _transaction_id(request)
        if _of(request, "processingInformation", "capture") is not False:
            raise Refused(400, "INVALID_DATA", "This sandbox authorises first and captures later.")
        outcome = outcome_of(amount_minor)
        if outcome.manner is Manner.SERVER_ERROR:
            return Reply(500, {"status": "SERVER_ERROR", "reason": "SYSTEM_ERROR"}, outcome.manner)
        card = self._opened(request)
        with self.books.writing():
            if self.books.said(organization, "authorization", transaction_id) is not None:
                raise Refused(400, "DUPLICATE_REQUEST", "An equal request was made before.")
            entry = self._note(organization, transaction_id, request, outcome, card)
        reply = Reply(201, _authorized(entry, outcome, card, amount_minor), outcome.manner)
        if outcome.manner is Manner.SERVER_ERROR_AFTER:
            return Reply(502, {"status": "SERVER_ERROR", "reason": "SERVER_TIMEOUT"}, Manner.PLAIN)
        return reply

    def reverse(self, organization: str, payment: str, request: Mapping[str, Any]) -> Reply:
        """``POST /pts/v2/payments/{id}/reversals``."""
        with self.books.writing():
            return self._reverse(self._payment(organization, payment), _transaction_id(request))

    def reverse_by_key(self, organization: str, request: Mapping[str, Any]) -> Reply:
        """``POST /pts/v2/reversals``: by the identifier of a request whose answer nobody got."""
        transaction_id = _transaction_id(request)
        with self.books.writing():
            found = self.books.said(organization, "authorization", transaction_id)
            if found is None:
                raise Refused(404, "NOT_FOUND", "No request with this identifier came.")
            return self._reverse(found, f"{transaction_id}:timeout")

    def capture(self, organization: str, payment: str, request: Mapping[str, Any]) -> Reply:
        """``POST /pts/v2/payments/{id}/captures``, once and in full."""
        amount_minor, currency = _amount(request)
        with self.books.writing():
            known = self.books.said(organization, "capture", _transaction_id(request))
            if known is not None:
                return _done(known, "PENDING")
            entry = self._payment(organization, payment)
            if entry["status"] != "AUTHORIZED":
                raise Refused(400, "INVALID_DATA", f"The authorization is {entry['status']}.")
            if (amount_minor, currency) != (entry["amount_minor"], entry["currency"]):
                raise Refused(400, "EXCEEDS_AUTH_AMOUNT", "Another amount was authorized.")
            self.books.set_status(entry["id"], "CAPTURED")
            return _done(self._child(entry, "capture", request, amount_minor), "PENDING")

    def refund(self, organization: str, capture: str, request: Mapping[str, Any]) -> Reply:
        """``POST /pts/v2/captures/{id}/refunds``: parts, up to all of it."""
        amount_minor, currency = _amount(request)
        with self.books.writing():
            known = self.books.said(organization, "refund", _transaction_id(request))
            if known is not None:
                return _done(known, "PENDING")
            entry = self.books.get(organization, capture)
            if entry is None or entry["kind"] != "capture":
                raise Refused(404, "NOT_FOUND", "There is no such capture.")
            given = sum(one["amount_minor"] for one in self.books.children(capture, "refund"))
            too_much = amount_minor > entry["amount_minor"] - given
            if too_much or currency != entry["currency"]:
                raise Refused(400, "INVALID_DATA", "That is more than was captured.")
            return _done(self._child(entry, "refund", request, amount_minor), "PENDING")

    def _opened(self, request: Mapping[str, Any]) -> OpenedCard:
        sealed = _of(request, "paymentInformation", "fluidData")
        if not isinstance(sealed, dict) or sealed.get("descriptor") != DESCRIPTOR:
            raise Refused(400, "MISSING_FIELD", "paymentInformation.fluidData is not there.")
        try:
            data = base64.b64decode(str(sealed.get("value", "")), validate=True)
            ksn = bytes.fromhex(str(sealed.get("keySerialNumber", "")))
        except (binascii.Error, ValueError):
            raise Refused(400, "INVALID_DATA", "fluidData is not encoded as it says.") from None
        if len(ksn) not in {10, 12}:
            raise Refused(400, "INVALID_DATA", "A key serial number has 10 or 12 bytes.")
        try:
            return open_card(data, ksn, self.books.secret)
        except NotOpened as error:
            raise Refused(400, "INVALID_DATA", f"Not decrypted: {error}.") from error

    def _note(
        self,
        organization: str,
        transaction_id: str,
        request: Mapping[str, Any],
        outcome: Outcome,
        card: OpenedCard,
    ) -> sqlite3.Row:
        amount_minor, currency = _amount(request)
        if outcome.manner is Manner.PARTIAL:
            amount_minor //= 2
        code = outcome.code if card.is_number_good else "14"
        approval = f"{time.time_ns() // 1_000_000 % 1_000_000:06d}" if code == "00" else ""
        return self.books.add(
            organization=organization,
            kind="authorization",
            transaction_id=transaction_id,
            status="AUTHORIZED" if code == "00" else "DECLINED",
            amount_minor=amount_minor,
            currency=currency,
            code=code,
            approval=approval,
            reference=_text(request, "clientReferenceInformation", "code"),
            masked=card.masked,
            fingerprint=card.fingerprint,
            ksn=str(_of(request, "paymentInformation", "fluidData", "keySerialNumber")),
            terminal=str(_of(request, "pointOfSaleInformation", "terminalId") or ""),
        )

    def _payment(self, organization: str, identifier: str) -> sqlite3.Row:
        found = self.books.get(organization, identifier)
        if found is None or found["kind"] != "authorization":
            raise Refused(404, "NOT_FOUND", "There is no such payment.")
        return found

    def _reverse(self, entry: sqlite3.Row, transaction_id: str) -> Reply:
        if entry["status"] == "REVERSED":
            raise Refused(400, "AUTH_ALREADY_REVERSED", "It was reversed before.")
        if entry["status"] == "CAPTURED":
            raise Refused(400, "INVALID_DATA", "It is captured; refund it.")
        if entry["status"] == "DECLINED":
            raise Refused(404, "NOT_FOUND", "Nothing was authorized.")
        self.books.set_status(entry["id"], "REVERSED")
        done = self.books.add(
            organization=entry["organization"],
            kind="reversal",
            transaction_id=transaction_id,
            parent=entry["id"],
            status="REVERSED",
            amount_minor=entry["amount_minor"],
            currency=entry["currency"],
        )
        return _done(done, "REVERSED")

    def _child(
        self, entry: sqlite3.Row, kind: str, request: Mapping[str, Any], amount_minor: int
    ) -> sqlite3.Row:
        return self.books.add(
            organization=entry["organization"],
            kind=kind,
            transaction_id=_transaction_id(request),
            parent=entry["id"],
            status="PENDING",
            amount_minor=amount_minor,
            currency=entry["currency"],
        )


def _authorized(
    entry: sqlite3.Row, outcome: Outcome, card: OpenedCard, asked_minor: int
) -> dict[str, Any]:
    is_approved = entry["status"] == "AUTHORIZED"
    status = "AUTHORIZED" if is_approved else "DECLINED"
    if is_approved and outcome.manner is Manner.PARTIAL:
        status = "PARTIAL_AUTHORIZED"
    elif is_approved and outcome.manner is Manner.REVIEW:
        status = "AUTHORIZED_PENDING_REVIEW"
    body: dict[str, Any] = {
        "id": entry["id"],
        "status": status,
        "clientReferenceInformation": {
            "code": entry["reference"],
            "transactionId": entry["transaction_id"],
        },
        "processorInformation": {"responseCode": entry["code"]},
    }
    if is_approved:
        body["processorInformation"]["approvalCode"] = entry["approval"]
        body["orderInformation"] = {
            "amountDetails": {
                "authorizedAmount": _decimal(entry["amount_minor"], entry["currency"]),
                "totalAmount": _decimal(asked_minor, entry["currency"]),
                "currency": entry["currency"],
            }
        }
    else:
        body["errorInformation"] = {"reason": "PROCESSOR_DECLINED", "message": outcome.line}
    if card.has_chip:
        # The cryptogram is a play one: the code of the issuer stands at its end, as method 1 of EMV has it.
        cryptogram = bytes.fromhex(card.fingerprint) + entry["code"].encode()
        tags = encode_tlv((Tlv(0x91, cryptogram),)).hex().upper()
        body["pointOfSaleInformation"] = {"emv": {"tags": tags}}
    return body


def _done(entry: sqlite3.Row, status: str) -> Reply:
    return Reply(201, {"id": entry["id"], "status": status})


def _amount(request: Mapping[str, Any]) -> tuple[int, str]:
    details = _of(request, "orderInformation", "amountDetails")
    if not isinstance(details, dict):
        raise Refused(400, "MISSING_FIELD", "orderInformation.amountDetails is not there.")
    currency = str(details.get("currency", ""))
    try:
        minor = Decimal(str(details.get("totalAmount", ""))).scaleb(exponent(currency))
    except (InvalidOperation, MoneyMismatch):
        raise Refused(400, "INVALID_DATA", "The amount cannot be read.") from None
    if minor != int(minor) or not 0 < minor < 10**12:
        raise Refused(400, "INVALID_DATA", "The amount cannot be taken.")
    return int(minor), currency


def _decimal(minor: int, currency: str) -> str:
    digits = exponent(currency)
    return f"{Decimal(minor).scaleb(-digits):.{digits}f}"


def _transaction_id(request: Mapping[str, Any]) -> str:
    found = _text(request, "clientReferenceInformation", "transactionId")
    if not 0 < len(found) <= 30:
        raise Refused(
            400, "MISSING_FIELD", "clientReferenceInformation.transactionId is not there."
        )
    return found


def _of(request: Mapping[str, Any], *path: str) -> Any:
    value: Any = request
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _text(request: Mapping[str, Any], *path: str) -> str:
    value = _of(request, *path)
    return value if isinstance(value, str) else ""
