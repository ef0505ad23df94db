"""The way in for everything that devices send.

A batch is one transaction: the ledger, what payments conclude, the timeline, and the book by which duplicates are
known. It is committed before anything is acknowledged. What cannot be taken in goes to quarantine and never holds up
the rest. The MQTT ingest and the HTTPS fallback both come through ``Intake.take_in``, in any number of processes: the
version of each cursor tells them of each other. One ``Intake`` belongs to one thread.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

import msgspec
import structlog
from sqlalchemy import Connection

from control_plane import live
from control_plane.clock import Clock
from control_plane.db.engine import Database
from control_plane.db.upsert import insert as upsert
from control_plane.devices import clones, presence, timeline
from control_plane.devices import queries as devices
from control_plane.devices.models import EventSource, Severity
from control_plane.errors import Unavailable
from control_plane.firmware.updates import ReportedProgress, apply_progress
from control_plane.ingest import book, metrics
from control_plane.ingest.book import CursorKey, Kept, Sighting
from control_plane.ingest.bulk import BulkTable
from control_plane.ingest.cursor import Taken
from control_plane.ingest.guard import cleaned_text
from control_plane.ingest.models import CLOSINGS
from control_plane.ingest.reading import Read, Unreadable, happened_at, read
from control_plane.ingest.trouble import Trouble, trouble_of
from control_plane.outbox import owe
from control_plane.payments import queries as payments
from control_plane.payments.reports import (
    ReportedCommandResult,
    ReportedResult,
    ReportedStep,
    apply_command_results,
    apply_results,
    apply_steps,
)
from control_plane.support.service import keep_lines
from control_plane.transactions.ledger import DEVICE_COLUMNS, READER, device_row, transaction_id_of
from control_plane.transactions.models import TRANSACTIONS
from protocols.cloud.commands import Ack, Rejected
from protocols.cloud.events import (
    UNREADABLE,
    CommandResult,
    DailyClosing,
    DeviceEvent,
    JobProgress,
    LogLines,
    PaymentResult,
    Presence,
    ReaderTotals,
    ReportedState,
    SessionStep,
    Telemetry,
)
from protocols.cloud.topics import CHANNEL_STREAM, Channel, Stream

log = structlog.get_logger()

#: How long something may be missing before the device is asked for it; its own re-sends come first.
GAP_S: Final = 60.0
#: How often it is asked.
ASK_AGAIN_S: Final = 30.0
#: Messages of one device that are kept in quarantine within an hour; more are counted only.
QUARANTINE_PER_HOUR: Final = 100
_ALL: Final = 100
COMPARE_CLOSING: Final = "ingest.compare_closing"
_DEVICE_CACHE_S: Final = 2.0
_HEARD_EVERY_S: Final = 10.0
_MOST_CURSORS: Final = 50_000
#: Batches after a conflict in which is looked before writing.
_CAREFUL_BATCHES: Final = 32
_ATTEMPTS: Final = 4
_RECENT: Final = 20_000

_LEDGER: Final = BulkTable(TRANSACTIONS, DEVICE_COLUMNS)
# Reading a member of an enum takes as long as a whole row of the ledger is worth, so once.
_NEW, _DUPLICATE = Taken.NEW, Taken.DUPLICATE
_ID, _EXTERNAL = DEVICE_COLUMNS.index("id"), DEVICE_COLUMNS.index("external_id")
_HASH = DEVICE_COLUMNS.index("message_hash")
_LENGTHS: Final = [
    (at, length)
    for at, name in enumerate(DEVICE_COLUMNS)
    if (length := getattr(TRANSACTIONS.c[name].type, "length", None))
]


class IntakeAway(Unavailable):
    """The database does not answer: nothing was taken in, nothing may be acknowledged."""

    code = "intake_away"

    def __init__(self) -> None:
        super().__init__(what="The database")


class Uplink(NamedTuple):
    """A message as it came. ``device_id`` is proven: by the topic rights at the broker, or by a signature."""

    device_id: str
    channel: Channel
    payload: bytes


class Answer(NamedTuple):
    """An acknowledgement for a device."""

    device_id: str
    cell: str
    ack: Ack


@dataclass(slots=True)
class _Device:
    """What is known of a sender; ``anchor_ms`` is the start of its monotonic clock in this boot, by our clock."""

    id: str
    merchant_id: str
    location_id: str
    cell: str
    may_speak: bool
    known_until: float
    boot: int = -1
    anchor_ms: int | None = None

    _key: CursorKey | None = None

    def key(self, stream: str, epoch: int) -> CursorKey:
        """The key of a stream; the last one again, which it mostly is."""
        key = self._key
        if key is None or key.stream != stream or key.epoch != epoch:
            key = self._key = CursorKey(self.id, stream, epoch)
        return key

    def hear(self, boot: int, mono_ms: int, now_ms: int) -> None:
        """The least delayed message of a boot tells best when its clock began."""
        anchor = now_ms - mono_ms
        if boot > self.boot:
            self.boot, self.anchor_ms = boot, anchor
        elif boot == self.boot and self.anchor_ms is not None and anchor < self.anchor_ms:
            self.anchor_ms = anchor


class _Message(NamedTuple):
    """A streamed message on its way through a batch."""

    seq: int
    prev: str
    digest: str
    device: _Device
    found: Read | Unreadable
    uplink: Uplink


class _Payment(NamedTuple):
    key: CursorKey
    message: _Message
    result: PaymentResult
    row_id: str
    at: datetime


@dataclass(slots=True)
class _Batch:
    """What a batch holds, sorted; filled before the transaction, so that it can be written again."""

    received: datetime
    streams: dict[CursorKey, list[_Message]] = field(default_factory=dict)
    #: Without a key, so nobody can be told.
    hopeless: list[tuple[_Device, Uplink, Unreadable]] = field(default_factory=list)
    presences: dict[str, list[Presence]] = field(default_factory=dict)
    states: dict[str, ReportedState] = field(default_factory=dict)
    telemetry: dict[str, Telemetry] = field(default_factory=dict)
    logs: list[tuple[str, LogLines]] = field(default_factory=list)
    heard: set[str] = field(default_factory=set)
    masked: int = 0
    refused: int = 0


@dataclass(slots=True)
class _Work:
    """What one transaction writes."""

    rows: list[tuple[Any, ...]] = field(default_factory=list)
    #: What stands behind each of ``rows``.
    payments: list[_Payment] = field(default_factory=list)
    #: Of payments whose session is known here.
    results: list[ReportedResult] = field(default_factory=list)
    steps: list[ReportedStep] = field(default_factory=list)
    command_results: list[ReportedCommandResult] = field(default_factory=list)
    jobs: list[ReportedProgress] = field(default_factory=list)
    hashes: list[tuple[str, str, int, int, str]] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    closings: list[tuple[_Device, CursorKey, DailyClosing]] = field(default_factory=list)
    quarantined: list[dict[str, Any]] = field(default_factory=list)
    rejected: defaultdict[CursorKey, list[Rejected]] = field(
        default_factory=lambda: defaultdict(list)
    )
    beyond: defaultdict[CursorKey, list[int]] = field(default_factory=lambda: defaultdict(list))
    seen_before: list[tuple[Sighting, _Message]] = field(default_factory=list)
    new: int = 0
    duplicates: int = 0
    not_now: int = 0


class Intake:
    """Takes in batches, for one thread."""

    def __init__(self, database: Database, clock: Clock, *, gap_s: float = GAP_S) -> None:
        self._database = database
        self._clock = clock
        self._gap = timedelta(seconds=gap_s)
        self._devices: dict[str, _Device] = {}
        self._cursors: dict[CursorKey, Kept] = {}
        self._heard_at: dict[str, float] = {}
        #: device -> (hour, messages that it has in quarantine of that hour)
        self._kept_in_hour: dict[str, tuple[int, int]] = {}
        self._careful = 0
        #: Hashes of what was committed lately, in two generations: what is sent twice mostly is so soon.
        self._recent: set[str] = set()
        self._less_recent: set[str] = set()

    def take_in(self, messages: Sequence[Uplink]) -> list[Answer]:
        """Commit a batch; the acknowledgements to send now. Raises IntakeAway, and then nothing was written.

        Messages of devices that may not speak are left out without an answer: they stay in the devices' outboxes.
        """
        began = time.monotonic()
        answers = self._take_in(messages)
        metrics.BATCH_SECONDS.observe(time.monotonic() - began)
        return answers

    def forget_devices(self) -> None:
        """Look at the database again before believing what is known of senders."""
        for device in self._devices.values():
            device.known_until = 0.0

    def _take_in(self, messages: Sequence[Uplink], *, fit: bool = False) -> list[Answer]:
        for _ in range(_ATTEMPTS):
            outcome = self._attempt(messages, fit=fit)
            if not isinstance(outcome, Exception):
                return outcome
            if trouble_of(outcome) is not Trouble.CONFLICT:
                return self._divide(messages, outcome, fit=fit)
            self._careful = _CAREFUL_BATCHES
        # Somebody else takes in the same streams all the time; nothing is wrong with the messages.
        raise IntakeAway

    def _attempt(
        self,
        messages: Sequence[Uplink],
        *,
        fit: bool,
        spoil: Callable[[_Batch], _Batch] | None = None,
    ) -> list[Answer] | Exception:
        """One transaction; the error when it was undone by anything but a database that is away. Raises IntakeAway."""
        self._careful = max(0, self._careful - 1)
        batch: _Batch | None = None
        try:
            batch = self._sort(messages)
            if spoil:
                batch = spoil(batch)
            with self._database.connection() as db:
                work, answers = self._write(db, batch, careful=self._careful > 0, fit=fit)
        except Exception as error:
            if batch is not None:
                self._forget(batch)
            if trouble_of(error) is Trouble.AWAY:
                raise IntakeAway from error
            return error
        self._count(batch, work)
        self._remember(batch)
        return answers

    def _divide(self, messages: Sequence[Uplink], error: Exception, *, fit: bool) -> list[Answer]:
        """Find the message that the database, or our own code, does not take; the others must not wait for it."""
        if len(messages) > 1:
            half = len(messages) // 2
            return [
                *self._take_in(messages[:half], fit=fit),
                *self._take_in(messages[half:], fit=fit),
            ]
        if trouble_of(error) is None:
            # A mistake of ours, not of the message: it stays in the device's outbox until we can take it in.
            log.error("message_not_taken_in", device_id=messages[0].device_id, exc_info=error)
            metrics.MESSAGES.labels("failed").inc()
            return []
        if not fit:
            return self._take_in(messages, fit=True)
        reason = f"not storable: {str(error).splitlines()[0][:300]}"
        log.error("message_not_storable", device_id=messages[0].device_id, reason=reason)
        outcome = self._attempt(messages, fit=True, spoil=lambda batch: _spoiled(batch, reason))
        if isinstance(outcome, Exception):
            raise IntakeAway from outcome
        return outcome

    # --- before the transaction --------------------------------------------------------------------------------

    def _sort(self, messages: Sequence[Uplink]) -> _Batch:
        received = self._clock.now()
        now_ms = int(received.timestamp() * 1000)
        batch = _Batch(received)
        known = self._known_devices({message.device_id for message in messages})
        streams = batch.streams
        for uplink in messages:
            device = known.get(uplink.device_id)
            if device is None or not device.may_speak:
                batch.refused += 1
                continue
            stream = CHANNEL_STREAM.get(uplink.channel)
            if stream is None:
                self._sort_loose(batch, device, uplink)
                continue
            found = read(stream, uplink.payload)
            if isinstance(found, Read):
                envelope = found.envelope
                device.hear(envelope.boot, envelope.mono_ms, now_ms)
                batch.masked += found.masked
                key = device.key(envelope.stream, envelope.epoch)
                message = _Message(envelope.seq, envelope.prev, found.digest, device, found, uplink)
            elif found.head is None:
                batch.hopeless.append((device, uplink, found))
                continue
            else:
                head = found.head
                key = CursorKey(device.id, head.stream, head.epoch)
                message = _Message(head.seq, head.prev, found.digest, device, found, uplink)
            batch.heard.add(device.id)
            if (one := streams.get(key)) is None:
                streams[key] = [message]
            else:
                one.append(message)
        return batch

    def _sort_loose(self, batch: _Batch, device: _Device, uplink: Uplink) -> None:
        """Messages that are not numbered: the newest word of each device counts."""
        if not uplink.payload:
            # What clears a retained message.
            return
        try:
            match uplink.channel:
                case Channel.PRESENCE:
                    said = msgspec.json.decode(uplink.payload, type=Presence)
                    batch.presences.setdefault(device.id, []).append(said)
                case Channel.STATE:
                    batch.states[device.id] = msgspec.json.decode(
                        uplink.payload, type=ReportedState
                    )
                case Channel.TELEMETRY:
                    batch.telemetry[device.id] = msgspec.json.decode(uplink.payload, type=Telemetry)
                case Channel.LOG:
                    lines = msgspec.json.decode(uplink.payload, type=LogLines)
                    batch.logs.append((device.id, lines))
                case _:
                    return
        except UNREADABLE as error:
            digest = read(Stream.EVENTS, uplink.payload).digest
            batch.hopeless.append((device, uplink, Unreadable(str(error), digest, None)))
            return
        if uplink.channel is not Channel.PRESENCE:
            batch.heard.add(device.id)

    def _known_devices(self, ids: set[str]) -> dict[str, _Device]:
        now = time.monotonic()
        unknown = [
            one
            for one in ids
            if (device := self._devices.get(one)) is None or device.known_until < now
        ]
        if unknown:
            with self._database.reading_connection() as db:
                rows = {row.id: row for row in devices.senders(db, unknown)}
            for device_id in unknown:
                self._devices.pop(device_id, None) if device_id not in rows else self._learn(
                    rows[device_id], now
                )
        return self._devices

    def _learn(self, row: devices.Found, now: float) -> None:
        before = self._devices.get(row.id)
        self._devices[row.id] = _Device(
            id=row.id,
            merchant_id=row.merchant_id,
            location_id=row.location_id,
            cell=row.cell,
            may_speak=row.state.may_speak,
            known_until=now + _DEVICE_CACHE_S,
            boot=before.boot if before else -1,
            anchor_ms=before.anchor_ms if before else None,
        )

    # --- the transaction -----------------------------------------------------------------------------------------

    def _write(
        self, db: Connection, batch: _Batch, *, careful: bool, fit: bool
    ) -> tuple[_Work, list[Answer]]:
        work = _Work()
        cursors = self._load(db, batch.streams)
        for key, messages in batch.streams.items():
            self._take_stream(work, batch, key, cursors[key], messages)
        if work.rows:
            self._write_ledger(db, work, batch, careful=careful, fit=fit)
        book.keep_hashes(db, work.hashes)
        self._compare_duplicates(db, work, batch)
        for device, uplink, found in batch.hopeless:
            self._quarantine(work, batch, device, uplink, None, 0, found, "malformed")
        self._record_breaks(work, batch, cursors)
        book.quarantine(db, work.quarantined)
        answers = self._answers(work, batch, cursors)
        if cursors:
            fresh = [key for key, one in cursors.items() if one.version == 0 and key.epoch > 1]
            book.save_cursors(db, list(cursors.items()))
            for key in fresh:
                self._begin_epoch(db, work, batch, key)
        apply_steps(db, work.steps)
        apply_results(db, work.results)
        apply_command_results(db, work.command_results)
        apply_progress(db, work.jobs)
        self._close_days(db, work, batch)
        self._apply_loose(db, batch)
        timeline.record_many(db, work.events)
        for merchant_id in {row[1] for row in work.rows}:
            topic = f"merchant:{merchant_id}:transactions"
            live.publish(db, topic, key=topic)
        return work, answers

    def _load(
        self, db: Connection, streams: dict[CursorKey, list[_Message]]
    ) -> dict[CursorKey, Kept]:
        missing = [key for key in streams if key not in self._cursors]
        if missing:
            if len(self._cursors) > _MOST_CURSORS:
                self._cursors.clear()
                missing = list(streams)
            self._cursors |= book.load_cursors(db, missing)
        return {key: self._cursors[key] for key in streams}

    def _take_stream(
        self, work: _Work, batch: _Batch, key: CursorKey, kept: Kept, messages: list[_Message]
    ) -> None:
        cursor = kept.cursor
        if len(messages) > 1:
            messages.sort(key=_by_seq)
        for message in messages:
            taken = cursor.take(message.seq, message.prev, message.digest)
            if taken is _NEW:
                work.new += 1
                self._take_message(work, batch, key, message)
            elif taken is _DUPLICATE:
                work.duplicates += 1
                digest = message.digest
                if digest not in self._recent and digest not in self._less_recent:
                    work.seen_before.append((_sighting(key, message), message))
            else:
                work.not_now += 1
                continue
            if message.seq > cursor.upto:
                work.beyond[key].append(message.seq)

    def _take_message(self, work: _Work, batch: _Batch, key: CursorKey, message: _Message) -> None:
        found, device = message.found, message.device
        if isinstance(found, Unreadable):
            self._quarantine(
                work, batch, device, message.uplink, key, message.seq, found, "malformed"
            )
            return
        envelope = found.envelope
        at = happened_at(
            envelope, batch.received, device.anchor_ms if device.boot == envelope.boot else None
        )
        data = envelope.data
        if type(data) is PaymentResult:
            row_id = transaction_id_of(found.number)
            work.rows.append(
                device_row(
                    row_id,
                    device.merchant_id,
                    device.location_id,
                    device.id,
                    data,
                    digest=message.digest,
                    epoch=key.epoch,
                    seq=message.seq,
                    occurred_at=at,
                    received_at=batch.received,
                    original_id=None,
                )
            )
            work.payments.append(_Payment(key, message, data, row_id, at))
            return
        work.hashes.append((*key, message.seq, message.digest))
        match data:
            case SessionStep():
                work.steps.append(ReportedStep(device.id, at, data))
            case CommandResult():
                work.command_results.append(ReportedCommandResult(device.id, at, data))
            case DailyClosing():
                work.closings.append((device, key, data))
            case DeviceEvent():
                work.events.append(
                    _event(
                        device,
                        data.kind,
                        data.text,
                        Severity(data.severity),
                        at,
                        reader_id=data.reader_id,
                        facts=data.facts,
                    )
                )
            case ReaderTotals():
                facts = msgspec.to_builtins(data)
                work.events.append(
                    _event(
                        device,
                        "reader.totals",
                        "",
                        Severity.INFO,
                        at,
                        reader_id=data.reader_id,
                        facts=facts,
                    )
                )
            case JobProgress():
                work.jobs.append(ReportedProgress(device.id, device.merchant_id, at, data))
                if data.percent is not None and data.percent < _ALL:
                    # How far it is, is no event.
                    return
                work.events.append(
                    _event(
                        device,
                        "job.progress",
                        data.text,
                        Severity.INFO,
                        at,
                        reader_id=data.reader_id,
                        facts=msgspec.to_builtins(data),
                    )
                )

    def _write_ledger(
        self, db: Connection, work: _Work, batch: _Batch, *, careful: bool, fit: bool
    ) -> None:
        owners = payments.devices_of(db, [one.result.session_id for one in work.payments])
        refused = {
            at: "not_its_session"
            for at, one in enumerate(work.payments if owners else ())
            if owners.get(one.result.session_id, one.key.device_id) != one.key.device_id
        }
        if careful:
            refused |= self._already_there(db, work)
        if refused:
            self._refuse_rows(work, batch, refused)
        self._link_originals(db, work)
        _LEDGER.write(db, [_fitted(row) for row in work.rows] if fit else work.rows)
        work.results = [
            ReportedResult(
                one.key.device_id, one.message.device.merchant_id, one.row_id, one.at, one.result
            )
            for one in (work.payments if owners else ())
            if one.result.session_id in owners
        ]

    def _already_there(self, db: Connection, work: _Work) -> dict[int, str]:
        ids = [row[_ID] for row in work.rows]
        by_id, by_external = book.known_rows(db, ids, [row[_EXTERNAL] for row in work.rows], READER)
        refused: dict[int, str] = {}
        for at, row in enumerate(work.rows):
            row_id, session_id, digest = row[_ID], row[_EXTERNAL], row[_HASH]
            if row_id in by_id:
                refused[at] = "" if by_id[row_id] == digest else "changed"
            elif session_id in by_external:
                refused[at] = "session_twice"
            else:
                by_id[row_id] = digest
                by_external[session_id] = row_id
        return refused

    def _refuse_rows(self, work: _Work, batch: _Batch, refused: dict[int, str]) -> None:
        """Take rows out again; those with a reason go to quarantine, the others are there already."""
        for at, code in refused.items():
            key, message = work.payments[at][:2]
            if code:
                found = Unreadable(_REASONS[code], message.digest, None)
                self._quarantine(
                    work, batch, message.device, message.uplink, key, message.seq, found, code
                )
        keep = [at for at in range(len(work.rows)) if at not in refused]
        work.rows = [work.rows[at] for at in keep]
        work.payments = [work.payments[at] for at in keep]

    def _link_originals(self, db: Connection, work: _Work) -> None:
        back = [one.result.session_id for one in work.payments if one.result.kind != "sale"]
        if not back:
            return
        originals = payments.originals_of(db, back)
        column = DEVICE_COLUMNS.index("original_id")
        for at, one in enumerate(work.payments):
            if original := originals.get(one.result.session_id):
                row = work.rows[at]
                work.rows[at] = (*row[:column], original, *row[column + 1 :])

    def _compare_duplicates(self, db: Connection, work: _Work, batch: _Batch) -> None:
        if not work.seen_before:
            return
        changed = book.altered(db, [sighting for sighting, _ in work.seen_before])
        for sighting, message in work.seen_before:
            if (sighting.key, sighting.seq) in changed:
                found = Unreadable(_REASONS["changed"], message.digest, None)
                self._quarantine(
                    work,
                    batch,
                    message.device,
                    message.uplink,
                    sighting.key,
                    sighting.seq,
                    found,
                    "changed",
                )

    def _quarantine(
        self,
        work: _Work,
        batch: _Batch,
        device: _Device,
        uplink: Uplink,
        key: CursorKey | None,
        seq: int,
        found: Unreadable,
        code: str,
    ) -> None:
        if key is not None:
            work.rejected[key].append(Rejected(seq=seq, code=code))
        hour = int(time.monotonic() // 3600)
        of_hour, kept = self._kept_in_hour.get(device.id, (hour, 0))
        kept = kept + 1 if of_hour == hour else 1
        self._kept_in_hour[device.id] = (hour, kept)
        if kept > QUARANTINE_PER_HOUR:
            return
        work.quarantined.append(
            {
                "merchant_id": device.merchant_id,
                "device_id": device.id,
                "channel": uplink.channel.value,
                "stream": key.stream if key else None,
                "epoch": key.epoch if key else None,
                "seq": seq or None,
                "code": code,
                "reason": cleaned_text(found.reason.encode(), 500),
                "raw": cleaned_text(uplink.payload),
                "message_hash": found.digest,
                "received_at": batch.received,
            }
        )
        work.events.append(
            _event(
                device,
                "ingest.quarantined",
                _REASONS.get(code, _REASONS["malformed"]),
                Severity.ERROR,
                batch.received,
                source=EventSource.SERVER,
                facts={"code": code, "stream": key.stream if key else "", "seq": str(seq)},
            )
        )

    def _record_breaks(self, work: _Work, batch: _Batch, cursors: dict[CursorKey, Kept]) -> None:
        for key, one in cursors.items():
            if one.cursor.broken_at:
                work.events.append(
                    _event(
                        batch.streams[key][0].device,
                        "stream.chain_broken",
                        "A message does not name the one before it: something was lost or altered on the device.",
                        Severity.ERROR,
                        batch.received,
                        source=EventSource.SERVER,
                        facts={
                            "stream": key.stream,
                            "epoch": str(key.epoch),
                            "seq": ",".join(map(str, one.cursor.broken_at[:20])),
                        },
                    )
                )
                one.cursor.broken_at.clear()

    def _answers(self, work: _Work, batch: _Batch, cursors: dict[CursorKey, Kept]) -> list[Answer]:
        answers = []
        now = batch.received
        for key, one in cursors.items():
            device = batch.streams[key][0].device
            resend: list[tuple[int, int]] = []
            if not one.cursor.has_gap:
                one.gap_since = one.asked_at = None
            elif one.gap_since is None:
                one.gap_since = now
            elif now - one.gap_since > self._gap and (
                one.asked_at is None or now - one.asked_at > timedelta(seconds=ASK_AGAIN_S)
            ):
                resend = one.cursor.missing()
                one.asked_at = now
            ack = Ack(
                stream=key.stream,
                epoch=key.epoch,
                upto=one.cursor.upto,
                also=[seq for seq in work.beyond[key] if seq > one.cursor.upto]
                if key in work.beyond
                else [],
                reject=work.rejected.get(key, []),
                resend=resend,
            )
            answers.append(Answer(device.id, device.cell, ack))
        return answers

    def _begin_epoch(self, db: Connection, work: _Work, batch: _Batch, key: CursorKey) -> None:
        device = batch.streams[key][0].device
        for epoch, upto in book.close_former(db, key, batch.received):
            work.events.append(
                _event(
                    device,
                    "stream.epoch_closed",
                    "The device began a new outbox. What it had not sent of the old one is missing.",
                    Severity.WARNING,
                    batch.received,
                    source=EventSource.SERVER,
                    facts={
                        "stream": key.stream,
                        "epoch": str(epoch),
                        "incomplete_from": str(upto + 1),
                    },
                )
            )
        devices.raise_epoch(db, device.id, key.epoch)

    def _close_days(self, db: Connection, work: _Work, batch: _Batch) -> None:
        for device, key, closing in work.closings:
            values = {
                "device_id": device.id,
                "epoch": key.epoch,
                "first_seq": closing.first_seq,
                "merchant_id": device.merchant_id,
                "last_seq": closing.last_seq,
                "day": closing.day,
                "reported": [[one.currency, one.count, one.sum_minor] for one in closing.sums],
                "result": "waiting",
                "received_at": batch.received,
            }
            db.execute(upsert(db, CLOSINGS).values(values).on_conflict_do_nothing())
            owe(
                db,
                COMPARE_CLOSING,
                {"device_id": device.id, "epoch": key.epoch, "first_seq": closing.first_seq},
                merchant_id=device.merchant_id,
            )

    def _apply_loose(self, db: Connection, batch: _Batch) -> None:
        now = batch.received
        if batch.presences:
            for device_id in clones.watch(db, batch.presences, now):
                # From the next batch on, not only when it is read again anyhow.
                self._devices[device_id].known_until = 0.0
            presence.apply_presences(db, batch.presences, now)
        if batch.states:
            presence.apply_states(db, batch.states, now)
        if batch.telemetry:
            presence.apply_telemetry(db, batch.telemetry, now)
        if batch.logs:
            keep_lines(db, batch.logs, now)
        clock = time.monotonic()
        due = [one for one in batch.heard if clock - self._heard_at.get(one, -1e9) > _HEARD_EVERY_S]
        if due:
            presence.show_online(db, due, now)
            self._heard_at |= dict.fromkeys(due, clock)

    # --- after it ------------------------------------------------------------------------------------------------

    def _forget(self, batch: _Batch) -> None:
        """What was noted for a transaction that failed is not true."""
        for key in batch.streams:
            self._cursors.pop(key, None)
        for device_id in batch.heard:
            self._heard_at.pop(device_id, None)

    def _remember(self, batch: _Batch) -> None:
        if len(self._recent) > _RECENT:
            self._recent, self._less_recent = set(), self._recent
        for messages in batch.streams.values():
            self._recent.update([one.digest for one in messages])

    def _count(self, batch: _Batch, work: _Work) -> None:
        for outcome, count in (
            ("new", work.new),
            ("duplicate", work.duplicates),
            ("not_now", work.not_now),
            ("refused", batch.refused),
            ("quarantined", len(work.quarantined)),
        ):
            if count:
                metrics.MESSAGES.labels(outcome).inc(count)
        if batch.masked:
            metrics.CARD_NUMBERS.inc(batch.masked)
            log.warning("card_numbers_masked", count=batch.masked)


_REASONS: Final = {
    "malformed": "A message could not be understood; it was set aside.",
    "changed": "A message came again with other contents; the first one stands.",
    "session_twice": "A second result came for a payment that already had one; the first one stands.",
    "not_its_session": "A device reported the result of a payment that belongs to another device.",
}


def _spoiled(batch: _Batch, reason: str) -> _Batch:
    """The batch with nothing in its messages but their keys."""
    streams = {
        key: [one._replace(found=Unreadable(reason, one.digest, None)) for one in messages]
        for key, messages in batch.streams.items()
    }
    return _Batch(batch.received, streams, heard=batch.heard)


def _by_seq(message: _Message) -> int:
    return message.seq


def _sighting(key: CursorKey, message: _Message) -> Sighting:
    found, row_id = message.found, ""
    if isinstance(found, Read) and isinstance(found.envelope.data, PaymentResult):
        row_id = transaction_id_of(found.number)
    return Sighting(key, message.seq, message.digest, row_id)


def _event(
    device: _Device,
    kind: str,
    text: str,
    severity: Severity,
    at: datetime,
    *,
    source: EventSource = EventSource.DEVICE,
    reader_id: str | None = None,
    facts: dict[str, Any] | None = None,
) -> dict[str, Any]:
    return {
        "merchant_id": device.merchant_id,
        "device_id": device.id,
        "reader_id": reader_id,
        "source": source,
        "kind": kind,
        "severity": severity,
        "text": text,
        "facts": facts or {},
        "happened_at": at,
    }


def _fitted(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """The row with texts cut to their columns: a long label must not keep a payment out of the ledger."""
    values = list(row)
    for at, length in _LENGTHS:
        if isinstance(values[at], str):
            values[at] = values[at][:length]
    return tuple(values)
