"""What happened on the account: events, and everything for the import."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, Final

import structlog

from control_plane.processors.stripe import reading
from control_plane.processors.stripe.client import Stripe
from control_plane.processors.stripe.pages import ListCall, every
from control_plane.processors.stripe.webhooks import event_of, verify
from control_plane.virtual_terminal.processor import Past, WebhookAddress, WebhookEvent
from protocols.errors import MoneyMismatch
from protocols.secret import Secret

log = structlog.get_logger()


class History:
    """The part of the port that tells what happened. Subclasses set ``_stripe``."""

    _stripe: Stripe

    def add_webhook(self, url: str, kinds: tuple[str, ...], *, key: str) -> WebhookAddress:
        params: Any = {"url": url, "enabled_events": list(kinds), "description": "Omnitill"}
        made = self._stripe.write(lambda v1, o: v1.webhook_endpoints.create(params, o), key=key)
        # Told this once only.
        return WebhookAddress(id=made.id, secret=Secret(made.secret or ""))

    def verify_webhook(self, payload: bytes, signature: str, secrets: list[str]) -> WebhookEvent:
        return verify(payload, signature, secrets)

    def events_since(self, since: datetime) -> Iterator[WebhookEvent]:
        """Newest first; Stripe keeps them for 30 days."""
        for event in every(self._stripe, lambda v1, p, o: v1.events.list(p, o), _created(since)):
            yield event_of(event.to_dict())

    def history(self, since: datetime, *, after: str | None = None) -> Iterator[Past]:
        """All payments, then all refunds, then all disputes made since then, each newest first.

        ``after`` is the cursor of the last one taken, ``payment:pi_…``. What is made while this runs is not seen:
        webhooks and the sweep bring it. What is in a currency that we do not know is left out, and logged.
        """
        first, _, identifier = (after or "").partition(":")
        kinds = list(_KINDS)
        for kind in kinds[kinds.index(first) if after else 0 :]:
            call, expand, read = _KINDS[kind]
            params = _created(since)
            if expand:
                params["expand"] = [f"data.{expand}"]
            begin = identifier if kind == first else None
            for found in every(self._stripe, call, params, after=begin):
                try:
                    yield read(found, f"{kind}:{found.id}")
                except MoneyMismatch as unknown:
                    log.warning("history_left_out", object_id=found.id, reason=str(unknown))


_KINDS: Final[dict[str, tuple[ListCall, str, Callable[[object, str], Past]]]] = {
    "payment": (
        lambda v1, p, o: v1.payment_intents.list(p, o),
        "latest_charge.balance_transaction",
        lambda found, cursor: Past(cursor=cursor, payment=reading.payment(found)),
    ),
    "refund": (
        lambda v1, p, o: v1.refunds.list(p, o),
        "balance_transaction",
        lambda found, cursor: Past(cursor=cursor, refund=reading.refund(found)),
    ),
    "dispute": (
        lambda v1, p, o: v1.disputes.list(p, o),
        "",
        lambda found, cursor: Past(cursor=cursor, dispute=reading.dispute(found)),
    ),
}


def _created(since: datetime) -> dict[str, Any]:  # parameters of any list
    return {"created": {"gte": int(since.astimezone(UTC).timestamp())}}
