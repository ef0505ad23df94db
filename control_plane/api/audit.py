"""The activity log."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import AwareDatetime, BaseModel, Field

from control_plane.accounts.caller import Caller
from control_plane.accounts.permissions import Permission
from control_plane.audit import queries
from control_plane.audit.service import EVENTS
from control_plane.audit.tags import AuditTag
from control_plane.audit.verification import verify
from control_plane.http.dependencies import ReadDb
from control_plane.http.pagination import Page, PageOf
from control_plane.http.security import requires

router = APIRouter(prefix="/v1", tags=["audit"])


class AuditEventOut(BaseModel):
    """Something that was done."""

    id: str = Field(examples=["aud_01k9m3v6x2e8t4q7w5y1z0a2b3"])
    seq: int = Field(examples=[42])
    at: datetime
    tag: str = Field(examples=["user:role:change"])
    sentence: str = Field(examples=["Ada Martin changed what Noé may do."])
    actor_kind: str = Field(examples=["user"])
    actor_id: str
    actor_name: str = Field(examples=["Ada Martin"])
    object_id: str
    object_name: str = Field(examples=["Noé"])
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    ip: str = Field(examples=["192.0.2.1"])
    user_agent: str
    hash: str


class FindingOut(BaseModel):
    """A place where the log was altered."""

    kind: str
    seq: int
    sentence: str


class VerdictOut(BaseModel):
    """Whether the log is as it was written."""

    is_intact: bool
    events: int
    findings: list[FindingOut]


@router.get("/audit-events")
def audit_events(
    db: ReadDb,
    page: PageOf,
    caller: Annotated[Caller, requires(Permission.AUDIT_VIEW)],
    tag: Annotated[
        str | None, Query(max_length=80, description="A tag, or its beginning.", examples=["user"])
    ] = None,
    actor_id: Annotated[str | None, Query(max_length=64)] = None,
    object_id: Annotated[str | None, Query(max_length=64)] = None,
    since: AwareDatetime | None = None,
    until: AwareDatetime | None = None,
) -> Page[AuditEventOut]:
    """What was done, newest first."""
    statement = queries.events(
        caller.scope, tag=tag, actor_id=actor_id, object_id=object_id, since=since, until=until
    )
    return page.read(db, statement, [EVENTS.c.seq], _event_out)


@router.get("/audit-events/verification")
def verification(
    db: ReadDb, caller: Annotated[Caller, requires(Permission.AUDIT_VIEW)]
) -> VerdictOut:
    """Walk the whole chain and tell what was altered."""
    verdict = verify(db, caller.merchant_id)
    return VerdictOut(
        is_intact=verdict.is_intact,
        events=verdict.events,
        findings=[
            FindingOut(kind=one.kind, seq=one.seq, sentence=one.sentence)
            for one in verdict.findings
        ],
    )


def _event_out(row: Any) -> AuditEventOut:
    tag = AuditTag.tagged(row.tag)
    sentence = tag.english if tag else "{actor}: {object}"
    return AuditEventOut(
        id=row.id,
        seq=row.seq,
        at=row.at,
        tag=row.tag,
        sentence=sentence.format(actor=row.actor_name, object=row.object_name),
        actor_kind=row.actor_kind,
        actor_id=row.actor_id,
        actor_name=row.actor_name,
        object_id=row.object_id,
        object_name=row.object_name,
        before=row.before,
        after=row.after,
        ip=row.ip,
        user_agent=row.user_agent,
        hash=row.hash,
    )
