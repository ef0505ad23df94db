"""Webhooks: the SDK's own check of signature and age, over all secrets that are in use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
import stripe

from control_plane.virtual_terminal.processor import NotVerified, WebhookEvent

#: Older ones are taken for replays.
TOLERANCE_S: Final = 300


def verify(payload: bytes, signature: str, secrets: Sequence[str]) -> WebhookEvent:
    """The event, when one of the secrets signed it. Raises NotVerified."""
    try:
        text = payload.decode()
    except UnicodeDecodeError:
        raise NotVerified("the body is no text") from None
    why = "no webhook secret is known"
    for secret in secrets:
        try:
            stripe.WebhookSignature.verify_header(text, signature, secret, TOLERANCE_S)
        except stripe.SignatureVerificationError as error:
            why = error.user_message or why
        else:
            return _read(payload)
    raise NotVerified(why)


def event_of(event: Mapping[str, Any]) -> WebhookEvent:
    """An event as it is written in JSON. Raises NotVerified when it is none."""
    try:
        about = event["data"]["object"]
        return WebhookEvent(
            id=event["id"],
            kind=event["type"],
            object_kind=about["object"],
            # A balance, for one, has no id.
            object_id=about.get("id") or "",
            created_at=datetime.fromtimestamp(event["created"], UTC),
            livemode=bool(event["livemode"]),
            payload=event,
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise NotVerified("the body is no event") from error


def _read(payload: bytes) -> WebhookEvent:
    try:
        event = msgspec.json.decode(payload, type=dict[str, Any])
    except msgspec.MsgspecError as error:
        raise NotVerified("the body is no event") from error
    return event_of(event)
