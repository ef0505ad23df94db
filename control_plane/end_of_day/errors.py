"""What can be wrong with closings."""

from __future__ import annotations

from control_plane.errors import RequestRefused


class ClosingTimeUnreadable(RequestRefused):
    """A time of day that is none."""

    code = "closing_time_unreadable"
    message = "{given} is no time of day. Write it like 03:30, or leave it empty for never."
