"""Sends events of the sandbox to us as the processor would: signed, or not."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from dataclasses import dataclass
from typing import Any

from httpx2 import Response
from starlette.testclient import TestClient

from control_plane.sandbox.engine import public
from tests.fixtures.virtual_terminal import WEBHOOK_SECRET, Connected


@dataclass(frozen=True, slots=True)
class WebhookSender:
    """The processor, as far as it tells us what happened."""

    shop: Connected
    client: TestClient

    def events(self, *kinds: str) -> list[dict[str, Any]]:
        """What happened on the account, the oldest first."""
        found = [public(one) for one in self.shop.sandbox.objects("event")]
        return [one for one in found if not kinds or one["type"] in kinds]

    def send(
        self,
        event: dict[str, Any],
        *,
        secret: str = WEBHOOK_SECRET,
        age_s: float = 0,
        account_id: str | None = None,
    ) -> Response:
        """Deliver an event once."""
        body = json.dumps(event)
        at = int(time.time() - age_s)
        signature = hmac.new(secret.encode(), f"{at}.{body}".encode(), hashlib.sha256).hexdigest()
        return self.client.post(
            f"/webhooks/stripe/{account_id or self.shop.account_id}",
            content=body,
            headers={"Stripe-Signature": f"t={at},v1={signature}"},
        )

    def pay(self, minor: int = 1000, *, number: str | None = None) -> str:
        """A payment that was begun elsewhere, such as in the dashboard; its ``pi_…``."""
        token = self.shop.sandbox.token(number) if number else self.shop.sandbox.token()
        made = self.shop.sandbox.server.client().v1.payment_intents.create(
            {
                "amount": minor,
                "currency": "usd",
                "confirm": True,
                "confirmation_token": token,
                "allowed_payment_method_types": ["card"],
            }
        )
        # What the account is told a moment later has happened, too.
        self.shop.sandbox.put_forward(seconds=30)
        return made.id

    def refund(self, intent_id: str, minor: int) -> str:
        """Money given back elsewhere; its ``re_…``."""
        made = self.shop.sandbox.server.client().v1.refunds.create(
            {"payment_intent": intent_id, "amount": minor}
        )
        return made.id
