"""The port to whatever takes our mail."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from control_plane.mail.errors import SendingRefused
from control_plane.mail.message import Message


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """A mail on its way. The id is the same for each try."""

    id: str
    merchant_id: str
    message: Message
    created_at: datetime


class Mailer(Protocol):
    """Hands mail over."""

    @property
    def is_set_up(self) -> bool:
        """Whether there is anybody to hand it to."""
        ...

    def send(self, outgoing: Outgoing, *, about_to_hand: Callable[[], None]) -> None:
        """Hand it over, and return when it was taken. Raises NotSent, SendingRefused, SendingUnknown.

        ``about_to_hand`` is called once, right before the step after which the mail may have been taken; what it
        raises stops the mail.
        """
        ...


class NoMailer:
    """Nobody takes mail."""

    is_set_up = False

    def send(self, outgoing: Outgoing, *, about_to_hand: Callable[[], None]) -> None:
        """Say so."""
        del outgoing, about_to_hand
        raise SendingRefused("No mail server is set up. Set OMNITILL_MAIL__HOST and start again.")
