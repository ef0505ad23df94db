"""Lists of the API, page by page, each page asked for with the patience of ``client``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import stripe

from control_plane.processors.stripe.client import Stripe

#: Takes the services, the parameters and the options; the SDK's own paging would bypass our policy.
ListCall = Callable[[stripe.V1Services, Any, stripe.RequestOptions], Any]  # each list has its types
_MOST = 100


def every(
    api: Stripe, call: ListCall, params: Mapping[str, object], *, after: str | None = None
) -> Iterator[Any]:  # objects of the SDK
    """All objects of a list, newest first, beginning behind the id ``after``."""
    while True:
        page: dict[str, object] = {**params, "limit": _MOST}
        if after is not None:
            page["starting_after"] = after
        answer = api.read(lambda v1, o, page=page: call(v1, page, o))  # type: ignore[misc]  # its default
        yield from answer.data
        if not answer.has_more or not answer.data:
            return
        after = answer.data[-1].id
