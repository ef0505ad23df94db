"""When a payment that waits for its truth is read again. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from control_plane.virtual_terminal.lifecycle import PaymentState

#: Longer than a call to the processor can take with its repetitions: by then an answer was written, or never will be.
CALL_OVER: Final = timedelta(seconds=45)
#: An attempt that the processor still knows nothing of after this long, and at the second look, never reached it.
SURELY_GONE: Final = timedelta(seconds=90)
#: Held money is announced as lapsing this long before.
WARN_BEFORE: Final = timedelta(hours=24)

_STEPS: Final[dict[PaymentState, tuple[int, ...]]] = {
    # Seconds; the last one again and again.
    PaymentState.UNKNOWN: (2, 5, 10, 20, 40, 60, 300, 900),
    PaymentState.IN_PROGRESS: (45, 60, 120, 300, 900),
    PaymentState.REQUIRES_ACTION: (60, 120, 300, 900, 3600),
    PaymentState.PROCESSING: (60, 600, 3600, 6 * 3600),
    PaymentState.AUTHORIZED: (60, 3600, 6 * 3600),
}


def next_look(
    state: PaymentState, looks: int, now: datetime, *, not_after: datetime | None = None
) -> datetime | None:
    """The next look after ``looks`` that changed nothing; at ``not_after`` at the latest. None: never again."""
    steps = _STEPS.get(state)
    if steps is None:
        return None
    at = now + timedelta(seconds=steps[min(looks, len(steps) - 1)])
    if not_after is not None and now < not_after < at:
        return not_after
    return at
