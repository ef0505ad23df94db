"""Where the processor sends its events: stored at once, answered at once, worked on afterwards."""

from __future__ import annotations

from asyncio import to_thread
from typing import Annotated, Final

from fastapi import APIRouter, Header, Path, Request, Response

from control_plane.errors import RequestRefused
from control_plane.http.dependencies import App
from control_plane.http.security import PUBLIC_FILE
from control_plane.virtual_terminal.inbox import Inbox

#: Not in the OpenAPI document: it is Stripe that calls it, in its own form.
router = APIRouter(prefix="/webhooks", tags=["webhooks"], include_in_schema=False)

#: Events are a few kilobytes; the largest that Stripe sends stays below this.
_LARGEST_BODY: Final = 512 * 1024


class EventTooLarge(RequestRefused):
    """More than any event is."""

    code = "event_too_large"
    status = 413
    message = "An event is at most 512 KiB; this one is larger and was not read."


# Not counted against the sender: bursts are what outages end with, and what is not signed is refused cheaply.
@router.post("/stripe/{account_id}", dependencies=[PUBLIC_FILE], status_code=200)
async def receive_event(
    request: Request,
    parts: App,
    account_id: Annotated[str, Path(max_length=40, examples=["acc_06f3k8a1b2c3d4e5f6g7h8j9k0"])],
    stripe_signature: Annotated[str, Header(max_length=2000)] = "",
) -> Response:
    """Take in an event of Stripe: `Stripe-Signature` over the raw body, at most five minutes old.

    Answered once it is stored; an event that came before is counted, not stored again. 400 `webhook_not_verified` when
    the signature does not hold: then nothing is stored.
    """
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _LARGEST_BODY:
            raise EventTooLarge(field="body", reason="")
    inbox = parts.get(Inbox)
    merchant_id, event = await to_thread(inbox.verify, account_id, body, stripe_signature)
    async with parts.database.writer_slot():
        await to_thread(inbox.store, account_id, merchant_id, event)
    return Response(status_code=200)
