"""Who did something, as the activity log writes it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class ActorKind(StrEnum):
    """What kind of actor it is."""

    USER = "user"
    API_KEY = "api_key"
    DEVICE = "device"
    SYSTEM = "system"


@dataclass(frozen=True, slots=True)
class Actor:
    """Who did it, and from where."""

    kind: ActorKind
    id: str
    name: str
    ip: str = ""
    user_agent: str = ""


#: Omnitill itself: a scheduled job, or a command that an operator ran on the server.
SYSTEM = Actor(kind=ActorKind.SYSTEM, id="system", name="Omnitill")
