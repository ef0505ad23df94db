"""Live pages: fragments sent over one stream a page, only those that changed, at most one message a second.

What is urgent (the steps of a payment) is sent at once. A stream holds no transaction and ends by itself after a
while; the browser then asks again, with its sign-in checked anew.
"""

from __future__ import annotations

import asyncio
from asyncio import to_thread
from typing import TYPE_CHECKING, Final

from fastapi.sse import ServerSentEvent
from markupsafe import escape

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection, Mapping

    from control_plane.live import LiveHub

#: Pages with a live stream put this many seconds between two messages.
PAUSE_S: Final = 1.0
#: How long one stream lasts.
LIFETIME_S: Final = 300.0
#: What has changed by the clock alone, such as a code that expired, is looked at this often.
REFRESH_S: Final = 20.0


async def follow(
    hub: LiveHub,
    topics: Collection[str],
    render: Callable[[], Mapping[str, str]],
    *,
    urgent: Collection[str] = (),
) -> AsyncIterator[ServerSentEvent]:
    """The fragments of a page, by selector, whenever they change. ``render`` runs in a thread."""
    sent: dict[str, str] = {}
    loop = asyncio.get_running_loop()
    ends = loop.time() + LIFETIME_S
    with hub.subscribe(*topics) as watch:
        while loop.time() < ends:
            watch.missed = False
            fresh = await to_thread(render)
            changed = {target: text for target, text in fresh.items() if sent.get(target) != text}
            if changed:
                sent |= changed
                yield ServerSentEvent(raw_data=partials(changed))
            quiet_until = loop.time() + PAUSE_S
            news = await watch.next(min(REFRESH_S, max(ends - loop.time(), 0.01)))
            while news is not None and loop.time() < quiet_until:
                if any(one.topic in urgent for one in news):
                    break
                news = await watch.next(max(quiet_until - loop.time(), 0.01))
            if news is None:
                return


def partials(fragments: Mapping[str, str]) -> str:
    """Fragments for their places on the page, as htmx takes them."""
    return "".join(
        f'<hx-partial hx-target="{escape(target)}" hx-swap="innerMorph">{text}</hx-partial>'
        for target, text in fragments.items()
    )
