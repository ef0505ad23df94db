"""Who is asking: a signed-in user, an API key, or a program on the server itself."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from control_plane.accounts.permissions import Permission
from control_plane.audit.actor import Actor, ActorKind
from control_plane.db.scope import Scope
from control_plane.errors import Forbidden


class CallerKind(StrEnum):
    """How the caller proved who they are."""

    USER = "user"
    API_KEY = "api_key"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is asking, for which merchant, and what they may see and do."""

    kind: CallerKind
    #: ``usr_…`` or ``key_…``
    id: str
    name: str
    scope: Scope
    email: str = ""
    role: str = ""
    language: str | None = None
    #: The sign-in (``ses_…``), when a browser asks.
    session_id: str | None = None
    ip: str = ""
    user_agent: str = ""

    @property
    def merchant_id(self) -> str:
        """The merchant for whom the caller acts."""
        return self.scope.merchant_id

    @property
    def actor(self) -> Actor:
        """The caller as the audit log writes it."""
        return Actor(
            kind=ActorKind(self.kind.value),
            id=self.id,
            name=self.name,
            ip=self.ip,
            user_agent=self.user_agent,
        )

    def can(self, permission: Permission) -> bool:
        """Whether the caller has a permission."""
        return self.scope.allows(permission)

    def must(self, permission: Permission) -> None:
        """Raises Forbidden unless the caller has the permission."""
        if not self.can(permission):
            raise Forbidden(permission=permission.value)
