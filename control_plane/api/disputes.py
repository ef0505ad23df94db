"""Disputes: cardholders' banks that want money back."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from control_plane.accounts.caller import Caller
from control_plane.accounts.permissions import Permission
from control_plane.http.dependencies import App
from control_plane.http.pagination import Page, PageOf
from control_plane.http.security import requires
from control_plane.virtual_terminal import queries
from control_plane.virtual_terminal.models import DISPUTES

router = APIRouter(prefix="/v1", tags=["disputes"])


class DisputeOut(BaseModel):
    """A dispute, as Stripe last told."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    payment_id: str | None
    location_id: str | None
    processor_id: str
    charge_id: str
    amount_minor: int
    currency: str
    reason: str
    status: Annotated[
        str, Field(description="Stripe’s word: needs_response, under_review, won, lost, …")
    ]
    due_by: Annotated[datetime | None, Field(description="Evidence counts until then.")]
    has_evidence: bool
    created_at: datetime
    updated_at: datetime


DisputeId = Annotated[str, Path(max_length=64, examples=["dsp_06f3k8m2q7v1x4b9c5d0e6g8h2"])]
Viewer = Annotated[Caller, requires(Permission.DISPUTE_VIEW)]


@router.get("/disputes")
def list_disputes(
    caller: Viewer,
    parts: App,
    page: PageOf,
    payment_id: Annotated[str | None, Query(max_length=64)] = None,
    status: Annotated[list[str] | None, Query(description="Any of these.")] = None,
) -> Page[DisputeOut]:
    """Disputes, the newest first."""
    wanted = queries.disputes_of(caller.scope, payment_id=payment_id, statuses=status or ())
    with parts.database.reading() as db:
        return page.read(
            db,
            wanted,
            [DISPUTES.c.id],
            make=lambda row: DisputeOut.model_validate(queries.dispute_view(row)),
        )


@router.get("/disputes/{dispute_id}")
def read_dispute(dispute_id: DisputeId, caller: Viewer, parts: App) -> DisputeOut:
    """One dispute."""
    with parts.database.reading_connection() as db:
        return DisputeOut.model_validate(queries.dispute(db, caller.scope, dispute_id))
