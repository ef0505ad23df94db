"""The port of encrypting readers, spoken to CyberSource.

Field names were read in the models of CyberSource's own REST clients. Not verified against their servers: that the
layouts of MagTek and ID TECH readers are what their decryption takes as ``fluidData.value`` (keys must be injected for
them), that a capture or refund repeated under one ``transactionId`` happens once, and what a time-out reversal answers
when there is nothing to reverse.

An authorisation is sent once and never repeated; what stays unknown is taken back by its ``transactionId``
(``POST /pts/v2/reversals``). Captures and refunds are repeated by the clock with the same one.
"""

from __future__ import annotations

import base64
import hashlib
import json
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Final, NoReturn
from urllib.parse import urlsplit

import httpx2

from control_plane.card_present.processor import (
    Access,
    AnswerUnknown,
    Approved,
    AuthorizationRequest,
    Declined,
    NotReached,
    ProcessorRefused,
    Reversed,
    Taken,
)
from control_plane.processors.cybersource.signing import headers
from protocols.errors import MalformedMessage
from protocols.money import Money, exponent
from protocols.readers.emv import decode_tlv, encode_tlv

#: ``FID=EMV.PAYMENT.API``: data that CyberSource itself decrypts.
DESCRIPTOR: Final = base64.b64encode(b"FID=EMV.PAYMENT.API").decode()
#: Objects of an issuer for the card.
_FOR_THE_CARD: Final = (0x91, 0x71, 0x72)
_LONGEST_ID: Final = 30
_ENTRY_MODES: Final = {"contactless": "contactless", "chip": "contact", "magstripe": "swiped"}
#: Reserved, but not to be relied on: it is taken back.
_UNSURE: Final = frozenset({"AUTHORIZED_PENDING_REVIEW", "AUTHORIZED_RISK_DECLINED", "PENDING"})
_NOTHING_THERE: Final = frozenset({"NOT_FOUND", "TRANSACTION_NOT_FOUND"})
_ALREADY_REVERSED: Final = frozenset({"AUTH_ALREADY_REVERSED"})
_TIMEOUT: Final = httpx2.Timeout(12.0, connect=3.0, pool=2.0)


class CyberSource:
    """One merchant's account. Used by any number of threads."""

    def __init__(self, access: Access, base: str, *, timeout: httpx2.Timeout | None = None) -> None:
        self._access = access
        self._host = urlsplit(base).netloc
        # A connection for each call: one that was kept may just have been closed by the other side, and then nobody
        # could say whether an authorisation, which is never repeated, had arrived.
        self._http = httpx2.Client(
            base_url=base,
            timeout=timeout or _TIMEOUT,
            follow_redirects=False,
            limits=httpx2.Limits(max_keepalive_connections=0),
        )

    def authorize(self, request: AuthorizationRequest) -> Approved | Declined:
        """See ``CardPresentProcessor``."""
        tap = request.tap
        answer = self._post(
            "/pts/v2/payments",
            request.key,
            {
                "clientReferenceInformation": {"code": request.reference},
                "processingInformation": {"capture": False, "commerceIndicator": "retail"},
                "orderInformation": {"amountDetails": _amount(request.amount)},
                "paymentInformation": {
                    "fluidData": {
                        "descriptor": DESCRIPTOR,
                        "encoding": "Base64",
                        "keySerialNumber": tap.ksn.hex().upper(),
                        "value": base64.b64encode(tap.data).decode(),
                    }
                },
                "pointOfSaleInformation": {
                    "terminalId": request.terminal_id[-8:],
                    "terminalSerialNumber": tap.serial_number,
                    "entryMode": _ENTRY_MODES.get(tap.entry_mode, "contact"),
                    "terminalCapability": 4,
                    "operatingEnvironment": "1",
                },
            },
        )
        return _authorized(answer, request.amount)

    def reverse(self, reference: str, key: str, authorization_key: str, amount: Money) -> Reversed:
        """See ``CardPresentProcessor``."""
        body = {
            "reversalInformation": {"amountDetails": _amount(amount), "reason": "no sale"},
        }
        path, own_key = "/pts/v2/reversals", authorization_key
        if reference:
            path, own_key = f"/pts/v2/payments/{reference}/reversals", key
        try:
            answer = self._post(path, own_key, body)
        except ProcessorRefused as refused:
            if refused.code in _ALREADY_REVERSED:
                return Reversed(was_there=True)
            if refused.code in _NOTHING_THERE:
                return Reversed(was_there=False)
            raise
        return Reversed(was_there=True, reference=_text(answer, "id"))

    def capture(self, reference: str, key: str, amount: Money) -> Taken:
        """See ``CardPresentProcessor``."""
        body = {"orderInformation": {"amountDetails": _amount(amount)}}
        return _taken(self._post(f"/pts/v2/payments/{reference}/captures", key, body))

    def refund(self, reference: str, key: str, amount: Money) -> Taken:
        """See ``CardPresentProcessor``."""
        body = {"orderInformation": {"amountDetails": _amount(amount)}}
        return _taken(self._post(f"/pts/v2/captures/{reference}/refunds", key, body))

    def check(self) -> None:
        """Ask for a transaction that there is not: who may not ask is told so before it is looked for."""
        try:
            self._ask("GET", "/tss/v2/transactions/1", None)
        except ProcessorRefused as refused:
            if refused.is_access:
                raise

    def _post(self, path: str, key: str, body: dict[str, Any]) -> dict[str, Any]:
        client = body.get("clientReferenceInformation", {"code": transaction_id(key)})
        whole = {
            **body,
            "clientReferenceInformation": {**client, "transactionId": transaction_id(key)},
        }
        return self._ask("POST", path, json.dumps(whole, separators=(",", ":")).encode())

    def _ask(self, method: str, path: str, body: bytes | None) -> dict[str, Any]:
        signed = headers(self._access, self._host, method, path, body, datetime.now(UTC))
        if body is not None:
            signed["content-type"] = "application/json"
        try:
            response = self._http.request(method, path, content=body, headers=signed)
        except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout) as error:
            raise NotReached(f"{type(error).__name__}: {error}") from error
        except httpx2.HTTPError as error:
            raise AnswerUnknown(f"{type(error).__name__}: {error}") from error
        return _read(response)


def transaction_id(key: str) -> str:
    """A key of ours, as long as the API takes one. The same key is the same identifier."""
    if len(key) <= _LONGEST_ID:
        return key
    return hashlib.sha256(key.encode()).hexdigest()[:_LONGEST_ID]


def _read(response: httpx2.Response) -> dict[str, Any]:
    status = response.status_code
    if status >= 500 or status == 408:
        raise AnswerUnknown(f"HTTP {status}")
    if status == 429:
        raise NotReached("HTTP 429")
    try:
        answer = response.json()
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        if status < 400:
            raise AnswerUnknown(f"HTTP {status} without a readable answer")
        answer = {}
    if status >= 400:
        _refuse(status, answer)
    return answer


def _refuse(status: int, answer: dict[str, Any]) -> NoReturn:
    reason = _text(answer, "reason") or _text(answer, "errorInformation", "reason")
    text = _text(answer, "message") or _text(answer, "errorInformation", "message")
    if reason == "DUPLICATE_REQUEST":
        raise AnswerUnknown("an equal request is known already")
    if status == 404:
        reason = reason or "NOT_FOUND"
    raise ProcessorRefused(
        reason or f"HTTP_{status}", text or f"HTTP {status}", is_access=status in {401, 403}
    )


def _authorized(answer: dict[str, Any], asked: Money) -> Approved | Declined:
    status, reference = _text(answer, "status"), _text(answer, "id")
    code = _text(answer, "processorInformation", "responseCode")
    issuer_data = _issuer_data(_text(answer, "pointOfSaleInformation", "emv", "tags"))
    if status in {"AUTHORIZED", "PARTIAL_AUTHORIZED"} and reference:
        return Approved(
            reference=reference,
            amount=_authorized_amount(answer, asked, is_partial=status != "AUTHORIZED"),
            response_code=code[:2] or "00",
            authorization_code=_text(answer, "processorInformation", "approvalCode"),
            issuer_data=issuer_data,
        )
    if status == "DECLINED":
        return Declined(
            reference=reference,
            response_code=code[:2] or "05",
            issuer_data=issuer_data,
            text=_text(answer, "errorInformation", "message"),
        )
    words = "to be reviewed" if status in _UNSURE else "an unknown status"
    raise AnswerUnknown(f"{words}: {status}")


def _authorized_amount(answer: dict[str, Any], asked: Money, *, is_partial: bool) -> Money:
    text = _text(answer, "orderInformation", "amountDetails", "authorizedAmount")
    try:
        minor = int(Decimal(text).scaleb(exponent(asked.currency)))
    except (InvalidOperation, ValueError):
        # Without an amount a partial approval is none of what was asked.
        minor = 0 if is_partial else asked.minor
    return Money(minor, asked.currency)


def _taken(answer: dict[str, Any]) -> Taken:
    reference = _text(answer, "id")
    if not reference:
        raise AnswerUnknown("an answer without an id")
    return Taken(reference=reference)


def _amount(amount: Money) -> dict[str, str]:
    digits = exponent(amount.currency)
    return {
        "totalAmount": f"{Decimal(amount.minor).scaleb(-digits):.{digits}f}",
        "currency": amount.currency,
    }


def _issuer_data(tags: str) -> bytes:
    """Only what the card may get, whatever else came."""
    try:
        found = decode_tlv(bytes.fromhex(tags))
    except (ValueError, MalformedMessage):
        return b""
    return encode_tlv(one for one in found if one.tag in _FOR_THE_CARD)


def _text(answer: dict[str, Any], *path: str) -> str:
    value: Any = answer
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value if isinstance(value, str) else ""
