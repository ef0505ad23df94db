"""Alerts: what is wrong with boxes and readers, and that somebody looks after it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from control_plane.accounts.caller import Caller
from control_plane.accounts.permissions import Permission
from control_plane.alerts import queries, watching
from control_plane.alerts.models import ALERTS
from control_plane.alerts.stepping import AlertState
from control_plane.http.dependencies import App, Db
from control_plane.http.pagination import Page, PageOf
from control_plane.http.security import requires

router = APIRouter(prefix="/v1", tags=["alerts"])

Viewer = Annotated[Caller, requires(Permission.DEVICE_VIEW)]
Manager = Annotated[Caller, requires(Permission.DEVICE_MANAGE)]


class AlertOut(BaseModel):
    """One kind of trouble of one box or reader."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    kind: str
    state: AlertState
    location_id: str
    device_id: str
    object_id: Annotated[str, Field(description="The box, or the reader.")]
    changed_at: Annotated[datetime, Field(description="Since when it is in this state.")]
    raised: Annotated[int, Field(description="How often it was opened.")]


class AcknowledgeIn(BaseModel):
    """Which alerts somebody looks after."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"alert_ids": ["alr_0"]}]}
    )

    alert_ids: Annotated[
        list[Annotated[str, Field(max_length=40)]], Field(min_length=1, max_length=500)
    ]


class AcknowledgedOut(BaseModel):
    """Those of them that were open."""

    alert_ids: list[str]


@router.get("/alerts")
def list_alerts(
    caller: Viewer,
    parts: App,
    page: PageOf,
    state: Annotated[AlertState | None, Query()] = None,
) -> Page[AlertOut]:
    """Alerts, the one that changed last first."""
    wanted = queries.alerts_of(caller.scope, () if state is None else (state,))
    with parts.database.reading() as db:
        return page.read(db, wanted, [ALERTS.c.changed_at, ALERTS.c.id], AlertOut.model_validate)


@router.post("/alerts/acknowledge")
def acknowledge_alerts(wish: AcknowledgeIn, caller: Manager, db: Db) -> AcknowledgedOut:
    """Say that somebody looks after these; those that are not open are left as they are."""
    return AcknowledgedOut(alert_ids=watching.acknowledge(db, caller, wish.alert_ids))
