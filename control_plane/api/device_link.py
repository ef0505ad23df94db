"""What devices ask over HTTPS: enrolment, a fresh certificate, and everything else where the MQTT port is blocked.

Bodies and answers are the structs of ``protocols.cloud.http``. A request is signed with the key of the device's
certificate; only enrolment has a code instead. Everything here may be sent twice.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, Final, TypeVar

import msgspec
from fastapi import APIRouter, Depends, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from control_plane.card_present import response_codes
from control_plane.card_present.processor import ANSWER_WITHIN_S
from control_plane.card_present.service import CardPresent, unavailable
from control_plane.clock import Clock
from control_plane.devices import configs, queries
from control_plane.devices.authority import is_signature_of
from control_plane.devices.enrollment import enrol, renew
from control_plane.devices.errors import ClockSkew, DeviceNotTrusted
from control_plane.devices.link import BrokerDirectory
from control_plane.devices.presence import DOWNLINK_TOPIC
from control_plane.errors import RequestRefused
from control_plane.http.dependencies import App, WriterSlot
from control_plane.http.security import PUBLIC, PUBLIC_FILE, address_of
from control_plane.http.threads import apart
from control_plane.ingest import book
from control_plane.ingest.cursor import Cursor
from control_plane.ingest.intake import ASK_AGAIN_S, GAP_S, Intake, Uplink
from control_plane.parts import Parts
from control_plane.payments.commands import WAKE_TOPIC, claim_command, pending_commands
from control_plane.payments.queries import has_pending_commands
from control_plane.support.service import keep_bundle
from protocols.cloud import http
from protocols.cloud.commands import Ack, DesiredConfig
from protocols.cloud.events import UNREADABLE, AuthorizationAsk, Claim
from protocols.cloud.topics import MAX_PAYLOAD_BYTES, Channel, Direction

#: Not in the OpenAPI document: it is the contract between our own two programs.
router = APIRouter(tags=["device link"], include_in_schema=False)

T = TypeVar("T")

#: Longest a device may wait for something to do.
LONGEST_WAIT_S: Final = 55
#: How often the database is asked in a long wait when nobody says that something changed.
_LOOK_S: Final = 5.0


class BodyRefused(RequestRefused):
    """A body that is not what this address takes."""

    code = "malformed_request"
    message = "The request does not have the expected form: {reason}."


async def body_of(request: Request) -> bytes:
    """The body as it came: it is what was signed."""
    return await request.body()


Body = Annotated[bytes, Depends(body_of)]


def signed_device(request: Request, parts: App, body: Body) -> queries.Found:
    """The device that signed this request. Raises DeviceNotTrusted, ClockSkew."""
    device_id = request.headers.get(http.HEADER_DEVICE, "")
    now = parts.clock.now()
    try:
        timestamp_ms = int(request.headers[http.HEADER_TIMESTAMP])
        signature = base64.b64decode(request.headers[http.HEADER_SIGNATURE], validate=True)
    except (KeyError, ValueError, binascii.Error):
        raise DeviceNotTrusted from None
    with parts.database.reading_connection() as db:
        device = queries.device_by_id(db, device_id)
        keys = queries.public_keys(db, device_id, now) if device else []
    path = request.scope["raw_path"].decode("ascii", "replace")
    if query := request.scope["query_string"].decode("ascii", "replace"):
        path = f"{path}?{query}"
    text = http.signed_text(request.method, path, timestamp_ms, body)
    if device is None or not any(is_signature_of(key, signature, text) for key in keys):
        raise DeviceNotTrusted
    # After the signature: only a device learns by how much its clock is off.
    seconds = round(now.timestamp() - timestamp_ms / 1000)
    if abs(seconds) > http.MAX_SKEW_S:
        raise ClockSkew(seconds=seconds, server_ms=_server_ms(parts.clock))
    if not device.state.may_connect:
        raise DeviceNotTrusted
    return device


Signed = Annotated[Any, Depends(signed_device)]


@router.post(http.ENROLL, dependencies=[PUBLIC])
def device_enroll(request: Request, body: Body, parts: App, _: WriterSlot) -> Response:
    """Turn a code and a certificate request into a device."""
    asked = _decoded(body, http.EnrollRequest)
    directory = parts.get(BrokerDirectory)
    with parts.database.connection() as db:
        new = enrol(db, directory.authority(), asked, ip=address_of(request))
    # The device connects as soon as it has our answer.
    directory.look_now()
    return _answer(
        parts.clock,
        http.Enrolled(
            device_id=new.device_id,
            cell=new.cell,
            epoch=new.epoch,
            certificate_pem=new.issued.certificate_pem,
            ca_pem=directory.authority().ca_pem,
            broker=directory.broker(),
            location_name=new.location_name,
            merchant_name=new.merchant_name,
            server_ms=_server_ms(parts.clock),
        ),
        status=201,
    )


@router.post(http.RENEW, dependencies=[PUBLIC])
def device_renew(body: Body, device: Signed, parts: App, _: WriterSlot) -> Response:
    """A fresh certificate; the old one stays good until its own end."""
    asked = _decoded(body, http.RenewRequest)
    directory = parts.get(BrokerDirectory)
    with parts.database.connection() as db:
        issued = renew(db, directory.authority(), device, asked.csr_pem)
    return _answer(
        parts.clock,
        http.Renewed(
            certificate_pem=issued.certificate_pem,
            ca_pem=directory.authority().ca_pem,
            broker=directory.broker(),
            server_ms=_server_ms(parts.clock),
        ),
    )


@router.post(http.OUTBOX, dependencies=[PUBLIC_FILE])
def device_outbox(body: Body, device: Signed, parts: App, _: WriterSlot) -> Response:
    """Take in messages as if they had come over MQTT; committed before it is answered."""
    upload = _decoded(body, http.OutboxUpload)
    answers = Intake(parts.database, parts.clock).take_in(_uplinks(device.id, upload.messages))
    return _answer(
        parts.clock,
        http.OutboxAnswer(
            acks=[answer.ack for answer in answers], server_ms=_server_ms(parts.clock)
        ),
    )


@router.post(http.CLAIM, dependencies=[PUBLIC_FILE])
def device_claim(body: Body, device: Signed, parts: App, _: WriterSlot) -> Response:
    """May this device run this command now?"""
    claim = _decoded(body, Claim)
    with parts.database.connection() as db:
        grant = claim_command(db, device.id, claim.command_id, claim.nonce, parts.clock.now())
    return _answer(parts.clock, http.ClaimAnswer(grant=grant, server_ms=_server_ms(parts.clock)))


@router.post(http.AUTHORIZATION, dependencies=[PUBLIC_FILE])
async def device_authorization(body: Body, device: Signed, parts: App) -> Response:
    """What the issuer says to a card; answers when the processor has. Holds no writer's place meanwhile."""
    ask = _decoded(body, AuthorizationAsk)
    card_present = parts.get(CardPresent)
    answer = await apart(card_present.answer, device.id, ask, wait_s=ANSWER_WITHIN_S)
    if answer is None:
        answer = unavailable(ask, response_codes.NO_ANSWER)
    reply = http.AuthorizationReply(answer=answer, server_ms=_server_ms(parts.clock))
    return _answer(parts.clock, reply)


@router.put(http.BUNDLE + "/{command_id}", dependencies=[PUBLIC_FILE], status_code=204)
def device_bundle(
    body: Body, device: Signed, parts: App, _: WriterSlot, command_id: str
) -> Response:
    """The log bundle that this device was asked for."""
    if len(body) > http.MAX_BUNDLE_BYTES:
        raise BodyRefused(reason=f"a bundle has at most {http.MAX_BUNDLE_BYTES} bytes")
    with parts.database.connection() as db:
        keep_bundle(db, device.id, command_id, body)
    return Response(None, 204, {http.HEADER_TIME: str(_server_ms(parts.clock))})


@router.get(http.DESIRED, dependencies=[PUBLIC_FILE])
async def device_desired(
    device: Signed,
    parts: App,
    wait: Annotated[int, Query(ge=0, le=LONGEST_WAIT_S)] = 0,
    config_hash: Annotated[str, Query(max_length=64)] = "",
) -> Response:
    """Commands, and the configuration when it is another than ``config_hash``; waits for something to come."""
    ends_at = time.monotonic() + wait
    with parts.live.subscribe(WAKE_TOPIC, DOWNLINK_TOPIC) as watch:
        while True:
            found = await run_in_threadpool(_look, parts, device.id, config_hash)
            if found.has_to_write:
                async with parts.database.writer_slot():
                    answer = await run_in_threadpool(_send, parts, device.id, found)
            else:
                answer = http.Desired(
                    commands=[], config=found.config, resend=[], server_ms=_server_ms(parts.clock)
                )
            is_over = time.monotonic() >= ends_at
            if answer.commands or answer.config or answer.resend or is_over:
                return _answer(parts.clock, answer)
            if not await _something_changed(watch, device.id, ends_at):
                return _answer(parts.clock, answer)


@dataclass(frozen=True, slots=True)
class _Found:
    config: DesiredConfig | None
    gaps: list[tuple[book.CursorKey, Cursor]]
    has_commands: bool

    @property
    def has_to_write(self) -> bool:
        return self.has_commands or bool(self.gaps)


async def _something_changed(watch: Any, device_id: str, ends_at: float) -> bool:
    """Wait until this device may have something new; False when the program ends."""
    look_at = min(ends_at, time.monotonic() + _LOOK_S)
    while (left := look_at - time.monotonic()) > 0:
        batch = await watch.next(left)
        if batch is None:
            return False
        if watch.missed:
            watch.missed = False
            return True
        # Commands name their device; others' are not ours to look for.
        if any(one.message.get("device_id", device_id) == device_id for one in batch):
            return True
        await asyncio.sleep(0)
    return True


def _look(parts: Parts, device_id: str, config_hash: str) -> _Found:
    now = parts.clock.now()
    with parts.database.reading_connection() as db:
        row = queries.desired_config(db, device_id)
        return _Found(
            config=configs.desired(row) if row is not None and row.hash != config_hash else None,
            gaps=book.streams_with_gaps(
                db,
                now - timedelta(seconds=GAP_S),
                now - timedelta(seconds=ASK_AGAIN_S),
                device_id=device_id,
            ),
            has_commands=has_pending_commands(db, device_id, now),
        )


def _send(parts: Parts, device_id: str, found: _Found) -> http.Desired:
    now = parts.clock.now()
    with parts.database.connection() as db:
        commands = [one.command for one in pending_commands(db, device_id, now)]
        book.note_asked(db, [key for key, _ in found.gaps], now)
    return http.Desired(
        commands=commands,
        config=found.config,
        resend=[
            Ack(stream=key.stream, epoch=key.epoch, upto=cursor.upto, resend=cursor.missing())
            for key, cursor in found.gaps
        ],
        server_ms=_server_ms(parts.clock),
    )


def _uplinks(device_id: str, messages: Sequence[http.UpMessage]) -> list[Uplink]:
    uplinks = []
    for message in messages:
        try:
            channel = Channel(message.channel)
        except ValueError:
            raise BodyRefused(reason=f"{message.channel[:40]} is no channel") from None
        payload = message.payload.encode()
        if channel.direction is not Direction.UP or len(payload) > MAX_PAYLOAD_BYTES:
            raise BodyRefused(reason=f"a message on {channel.value} that cannot be sent")
        uplinks.append(Uplink(device_id, channel, payload))
    return uplinks


def _decoded(body: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except UNREADABLE as error:
        raise BodyRefused(reason=str(error)) from error


def _answer(clock: Clock, value: msgspec.Struct, *, status: int = 200) -> Response:
    return Response(
        http.encode(value),
        status,
        {http.HEADER_TIME: str(_server_ms(clock))},
        media_type="application/json",
    )


def _server_ms(clock: Clock) -> int:
    return int(clock.now().timestamp() * 1000)
