"""Commands to readers and devices that move no money."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Path, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from control_plane.accounts.caller import Caller
from control_plane.accounts.permissions import Permission
from control_plane.http.dependencies import App, WriterSlot
from control_plane.http.idempotency import OnceOnly
from control_plane.http.pagination import Page, PageOf
from control_plane.http.security import requires
from control_plane.payments import commands, queries
from control_plane.payments.lifecycle import CommandState
from control_plane.payments.models import COMMANDS
from protocols.cloud.commands import (
    CloseReaderDay,
    DiagnoseReader,
    FetchLogs,
    RebootReader,
    RenewCertificate,
    ReportNow,
    RestartAgent,
    SelfTest,
    ShowReaderText,
    TailLog,
)

router = APIRouter(prefix="/v1", tags=["readers"])

_EXAMPLE: Final[dict[str, Any]] = {
    "id": "cmd_06f3k8m2r4s6t8v0w2x4y6z8a0",
    "device_id": "dev-06f3k8a1b2c3d4e5f6g7h8j9k0",
    "reader_id": "rd_06f3k8a1b2c3d4e5f6g7h8j9k0",
    "session_id": None,
    "kind": "reader.show_text",
    "state": "issued",
    "is_final": False,
    "issued_by": "usr_06f3a0b1c2d3e4f5g6h7j8k9m0",
    "issued_at": "2026-11-23T09:15:03.101Z",
    "expires_at": "2026-11-23T09:16:03.101Z",
    "attempts": 0,
    "claimed_at": None,
    "finished_at": None,
    "result_code": "",
    "result_text": "",
    "output": {},
}


class RebootIn(BaseModel):
    """Restart the reader; it refuses while a payment runs on it."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"kind": "reboot"}]})

    kind: Literal["reboot"]


class DiagnoseIn(BaseModel):
    """Let the reader test its line to its host."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["diagnose"]


class EndOfDayIn(BaseModel):
    """Close the reader's day. Its totals come back on its timeline."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["end_of_day"]


class ShowTextIn(BaseModel):
    """Show text on the reader."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["show_text"]
    lines: Annotated[
        list[Annotated[str, Field(max_length=40)]],
        Field(min_length=1, max_length=8, examples=[["Back at 14:00"]]),
    ]
    seconds: Annotated[int, Field(ge=0, le=99, description="0 leaves it there.")] = 10


class RestartAgentIn(BaseModel):
    """Restart the agent. It waits for payments that run."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"kind": "restart"}]})

    kind: Literal["restart"]


class ReportIn(BaseModel):
    """Let the agent report its state now."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["report"]


class RenewCertificateIn(BaseModel):
    """Let the agent fetch a new certificate now."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["renew_certificate"]


class SelfTestIn(BaseModel):
    """Examine the box, its line and its readers; ``output`` has one entry a check, such as ``good: …``."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["self_test"]


class LogTailIn(BaseModel):
    """Send the last lines of the log, and new ones for a while. Read them at ``/v1/devices/{id}/log``."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["log_tail"]
    lines: Annotated[int, Field(ge=0, le=500, description="How many that are there already.")] = 100
    level: Annotated[
        Literal["debug", "info", "warning", "error"], Field(description="The least that is sent.")
    ] = "info"
    seconds: Annotated[int, Field(ge=0, le=900, description="How long new lines are sent.")] = 0


class LogBundleIn(BaseModel):
    """Send the log files, the state and a self-test as a zip file. Read it at ``/v1/devices/{id}/log-bundles``."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["log_bundle"]


AgentCommandIn = Annotated[
    RestartAgentIn | ReportIn | RenewCertificateIn | SelfTestIn | LogTailIn | LogBundleIn,
    Field(discriminator="kind"),
]
CommandIn = Annotated[RebootIn | DiagnoseIn | EndOfDayIn | ShowTextIn, Field(discriminator="kind")]


class CommandOut(BaseModel):
    """A command as it stands. Only the device's own word makes it succeed."""

    model_config = ConfigDict(from_attributes=True, json_schema_extra={"examples": [_EXAMPLE]})

    id: str
    device_id: str
    reader_id: str | None
    session_id: str | None
    kind: str
    state: CommandState
    is_final: bool
    issued_by: str
    issued_at: datetime
    expires_at: datetime
    attempts: int
    claimed_at: datetime | None
    finished_at: datetime | None
    result_code: str
    result_text: str
    output: dict[str, Any]


Manager = Annotated[Caller, requires(Permission.READER_MANAGE)]
DeviceManager = Annotated[Caller, requires(Permission.DEVICE_MANAGE)]
Viewer = Annotated[Caller, requires(Permission.READER_VIEW)]


@router.post("/readers/{reader_id}/commands", status_code=201, response_model=CommandOut)
def command_reader(
    reader_id: Annotated[str, Path(max_length=64)],
    wish: CommandIn,
    caller: Manager,
    once: OnceOnly,
    parts: App,
    _: WriterSlot,
) -> Response:
    """Ask a reader to do something. It is sent until the device answers, for a minute at most."""
    body = _body(reader_id, wish)
    with parts.database.connection() as db:
        return once.answer(
            db,
            caller,
            lambda: CommandOut.model_validate(commands.command_reader(db, caller, reader_id, body)),
        )


@router.post(
    "/devices/{device_id}/commands", status_code=201, response_model=CommandOut, tags=["devices"]
)
def command_device(
    device_id: Annotated[str, Path(max_length=64)],
    wish: AgentCommandIn,
    caller: DeviceManager,
    once: OnceOnly,
    parts: App,
    _: WriterSlot,
) -> Response:
    """Ask a device to do something. It is sent until the device answers, for some minutes at most; never later."""
    body = _agent_body(wish)
    with parts.database.connection() as db:
        return once.answer(
            db,
            caller,
            lambda: CommandOut.model_validate(commands.command_device(db, caller, device_id, body)),
        )


@router.get("/commands")
def list_commands(
    caller: Viewer,
    parts: App,
    page: PageOf,
    device_id: Annotated[str | None, Query(max_length=64)] = None,
    reader_id: Annotated[str | None, Query(max_length=64)] = None,
) -> Page[CommandOut]:
    """Commands, the newest first; also those that carry payments."""
    wanted = queries.commands_of(caller.scope, device_id=device_id, reader_id=reader_id)
    with parts.database.reading() as db:
        return page.read(
            db,
            wanted,
            [COMMANDS.c.id],
            make=lambda row: CommandOut.model_validate(queries.command_view(row)),
        )


@router.get("/commands/{command_id}")
def read_command(
    command_id: Annotated[str, Path(max_length=64)], caller: Viewer, parts: App
) -> CommandOut:
    """One command as it stands."""
    with parts.database.reading_connection() as db:
        return CommandOut.model_validate(queries.command(db, caller.scope, command_id))


def _body(
    reader_id: str, wish: RebootIn | DiagnoseIn | EndOfDayIn | ShowTextIn
) -> commands.ReaderCommand:
    match wish:
        case RebootIn():
            return RebootReader(reader_id=reader_id)
        case DiagnoseIn():
            return DiagnoseReader(reader_id=reader_id)
        case EndOfDayIn():
            return CloseReaderDay(reader_id=reader_id)
        case ShowTextIn():
            return ShowReaderText(reader_id=reader_id, lines=wish.lines, seconds=wish.seconds)


def _agent_body(
    wish: RestartAgentIn | ReportIn | RenewCertificateIn | SelfTestIn | LogTailIn | LogBundleIn,
) -> commands.AgentCommand:
    match wish:
        case RestartAgentIn():
            return RestartAgent()
        case ReportIn():
            return ReportNow()
        case RenewCertificateIn():
            return RenewCertificate()
        case SelfTestIn():
            return SelfTest()
        case LogTailIn():
            return TailLog(lines=wish.lines, level=wish.level, seconds=wish.seconds)
        case LogBundleIn():
            return FetchLogs()
