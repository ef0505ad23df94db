"""What a support person asks of a box from afar: a self-test, and a bundle of everything that explains a fault."""

from __future__ import annotations

import asyncio
import io
import zipfile
from typing import TYPE_CHECKING, Final

import msgspec

from agent.errors import AgentError, ReaderBusy
from agent.log_book import BOOK
from agent.threads import in_thread
from protocols.cloud.http import MAX_BUNDLE_BYTES
from protocols.readers.protocol import AskStatus, Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from agent.clock import Clock
    from agent.doctor import Finding
    from agent.tap import Taps
    from protocols.cloud.events import ReportedReader

#: Longest that a reader may take to say how it is.
_READER_S: Final = 15.0


class BundleTooLarge(AgentError):
    """More than may be sent; cannot happen with the sizes that are kept."""

    code = "bundle_too_large"


async def self_test(
    state_dir: Path, clock: Clock, taps: Taps, readers: Sequence[ReportedReader]
) -> list[Finding]:
    """Examine box, line and readers while the agent works. A reader that is taking a payment is left alone."""
    # It brings the HTTPS client and cryptography, which an agent that is never asked does without.
    from agent.doctor import examine_box  # noqa: PLC0415
    from agent.timekeeping import DeviceTime  # noqa: PLC0415

    async def box() -> list[Finding]:
        return [one async for one in examine_box(state_dir, DeviceTime(clock), clock)]

    # It reads the whole journal: that must not hold up a payment.
    found = await in_thread(lambda: asyncio.run(box()), "self-test")
    return [*found, *[await _reader(taps, one) for one in readers]]


async def _reader(taps: Taps, reported: ReportedReader) -> Finding:
    from agent.doctor import Finding, Health  # noqa: PLC0415

    name = f"reader {reported.name}"
    slot = taps.slot(reported.reader_id)
    if slot is None:
        return Finding(
            name, Health.BAD, f"It is {reported.state}: {reported.reason}", "Look at it."
        )
    if refusal := slot.objection():
        if refusal.code == "reader_busy":
            return Finding(name, Health.SKIPPED, refusal.text)
        return Finding(name, Health.BAD, refusal.text, "See what the reader shows.")
    try:
        async with asyncio.timeout(_READER_S), slot.turn:
            finished = await slot.desk.reader.execute(AskStatus())
    except (TimeoutError, ReaderBusy):
        return Finding(name, Health.SKIPPED, f"{slot.name} was busy all the time.")
    about = " ".join(
        part for part in (reported.vendor, reported.model, reported.software_version) if part
    )
    if finished.outcome in (Outcome.DONE, Outcome.UNSUPPORTED):
        return Finding(name, Health.GOOD, f"It answers and is ready ({about or reported.profile}).")
    words = finished.text or finished.outcome.value
    return Finding(name, Health.BAD, f"It does not answer as it should: {words}.", "Restart it.")


async def bundle(
    about: Mapping[str, object], checks: Sequence[Finding], *, limit: int = MAX_BUNDLE_BYTES
) -> bytes:
    """A zip file: the log, what the device says of itself, the self-test. Raises BundleTooLarge."""

    def pack() -> bytes:
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as packed:
            for path in BOOK.files():
                packed.writestr(path.name, path.read_bytes())
            packed.writestr("self-test.json", _json(checks))
            for name, value in about.items():
                packed.writestr(f"{name}.json", _json(value))
        return content.getvalue()

    packed = await in_thread(pack, "bundle")
    if len(packed) > limit:
        raise BundleTooLarge(f"the logs fill {len(packed)} bytes, and {limit} may be sent")
    return packed


def output_of(checks: Sequence[Finding]) -> dict[str, str]:
    """Findings as a command's output: `good: words fix`."""
    return {
        one.name: f"{one.health.value}: {one.words}{' ' + one.fix if one.fix else ''}"[:300]
        for one in checks
    }


def _json(value: object) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value), indent=2)
