"""``omnitill swarm``: a fleet of simulated devices against the installation that runs here."""

from __future__ import annotations

import argparse
import contextlib
import json
import resource
import signal
import statistics
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from control_plane.app import build
from control_plane.config import Settings
from control_plane.devices.link import BrokerDirectory
from control_plane.parts import Parts
from control_plane.swarm.herd import Herd
from control_plane.swarm.member import VICES, Habits, Member, Tally, Vice
from control_plane.swarm.seed import Pen, seed

_EXAMPLE = """\
Example:
  omnitill demo --data-dir ./shop &
  OMNITILL_MODE=demo OMNITILL_DATA_DIR=./shop omnitill swarm --devices 500 --merchant "Maison Lumière"

  omnitill swarm --devices 10000 --sale-every 300 --misbehave 0.01 --seconds 600 --json swarm.json

It works beside an installation that is running with the same settings (OMNITILL_…): the devices are put into its
database, get certificates of its authority, and connect to its broker over TLS, each with a connection of its own.
They stay in the database when the swarm ends; the next swarm goes on with them. Retire them in the console.
"""
_SHOW_EVERY_S: Final = 1.0
#: Files beside the connections.
_OTHER_FILES: Final = 200


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 100_000:
        raise argparse.ArgumentTypeError("1 to 100000")
    return int(text)


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError("0 to 1, such as 0.02")
    return share


# fmt: off
_OPTIONS: Final[tuple[tuple[str, Callable[[str], Any], Any, str, str], ...]] = (
    ("--devices", _count, 100, "N", "how many (default 100)"),
    ("--readers", _count, 1, "N", "readers of each device (default 1)"),
    ("--merchant", str, "", "NAME", "whose devices they are (default: a merchant Swarm)"),
    ("--sale-every", float, 60.0, "S",
     "seconds between sales of one reader, on average; 0 for none (default 60)"),
    ("--heartbeat", float, 60.0, "S", "seconds between telemetry (default 60)"),
    ("--connect-within", float, 30.0, "S", "spread the first connections over this time (default 30)"),
    ("--misbehave", _share, 0.0, "SHARE",
     f"part of them that misbehave, 0 to 1: {', '.join(VICES)}"),
    ("--vices", str, "", "A,B", "only these ways of misbehaving"),
    ("--seconds", float, 0.0, "S", "end by itself after this time (default: Ctrl-C)"),
    ("--json", Path, None, "FILE", "write the figures there at the end, and each second beside it"),
)
# fmt: on


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "swarm",
        help="connect thousands of simulated devices to this installation",
        description=(
            "Connect simulated devices, which send heartbeats and sales, answer commands and "
            "configurations, and misbehave if asked to."
        ),
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for name, kind, default, unit, words in _OPTIONS:
        parser.add_argument(name, type=kind, default=default, metavar=unit, help=words)
    parser.set_defaults(run=run)


def run(chosen: argparse.Namespace) -> int:
    """0 when it ended in order, 1 when it could not begin."""
    settings = Settings()
    if settings.mode == "live":
        print("A swarm is for demo and test. Set OMNITILL_MODE to demo or test.", file=sys.stderr)
        return 1
    vices = [one.strip() for one in chosen.vices.split(",") if one.strip()]
    if unknown := [one for one in vices if one not in VICES]:
        print(f"--vices: there is no {unknown[0]}. There are: {', '.join(VICES)}.", file=sys.stderr)
        return 2
    parts = build(settings)
    try:
        return _run(parts, chosen, [Vice(one) for one in vices] or list(VICES))
    except LookupError as missing:
        print(missing.args[0], file=sys.stderr)
        return 1
    finally:
        parts.close()


def _run(parts: Parts, chosen: argparse.Namespace, vices: list[Vice]) -> int:
    wanted = chosen.devices + _OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted:
        print(
            f"This user may open {hard} files, and {wanted} are needed: see ulimit -Hn.",
            file=sys.stderr,
        )
        return 1
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    directory = parts.get(BrokerDirectory)
    authority, broker = directory.authority(), directory.broker()
    pen = Pen(parts.settings.data_dir / "swarm")
    show = _Screen()
    seeded = seed(
        parts.database, authority, pen, chosen.devices, parts.clock.now(), merchant=chosen.merchant,
        on_progress=lambda count: show.line(f"made {count} of {chosen.devices} devices"),
    )  # fmt: skip
    memory, tally = pen.memory(), Tally()
    habits = Habits(chosen.readers, chosen.sale_every, chosen.heartbeat)
    bad = round(len(seeded) * chosen.misbehave)
    members = [
        Member(
            one.device_id, one.cell, one.number, habits, tally,
            vice=vices[index % len(vices)] if index < bad else Vice.NONE,
            victim=seeded[-1].device_id, remembered=memory.get(one.device_id),
        )
        for index, one in enumerate(seeded)
    ]  # fmt: skip
    tls = pen.tls(authority.ca_pem)
    herd = Herd(
        members, (broker.host, broker.port), broker.server_name, lambda member: tls(member.id),
        connect_within_s=chosen.connect_within,
    )  # fmt: skip
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    began = time.monotonic()
    until = began + chosen.seconds if chosen.seconds else float("inf")
    all_up_at: float | None = None
    try:
        while not ended.is_set() and time.monotonic() < until:
            herd.run(min(until, time.monotonic() + _SHOW_EVERY_S), lambda: not ended.is_set())
            if all_up_at is None and herd.up == len(members):
                all_up_at = time.monotonic()
            figures = _figures(herd, members, tally, began, all_up_at)
            show.line(_words(figures))
            if chosen.json:
                _write(chosen.json.with_suffix(".now"), figures)
    finally:
        figures = _figures(herd, members, tally, began, all_up_at)
        herd.close()
        pen.remember({**memory, **{one.id: one.remember() for one in members}})
    show.end()
    if chosen.json:
        _write(chosen.json, figures)
    else:
        print(json.dumps(figures, indent=2))
    return 0


def _figures(
    herd: Herd, members: list[Member], tally: Tally, began: float, all_up_at: float | None
) -> dict[str, Any]:
    versions = Counter({version: len(times) for version, times in tally.config_at.items()})
    return {
        "devices": len(members),
        "seconds": round(time.monotonic() - began, 1),
        "connected": herd.up,
        "connects": herd.connects,
        "losses": herd.losses,
        "all_connected_after_s": round(all_up_at - began, 2) if all_up_at else None,
        "sales": tally.sales,
        "sold_minor": tally.sold_minor,
        "acknowledged": tally.acknowledged,
        "waiting": sum(one.waiting for one in members),
        "resent": tally.resent,
        "ack_ms": _quantiles(tally.ack_s),
        "commands": tally.commands,
        "configs": dict(versions),
        "config_spread_s": {
            version: round(max(times) - min(times), 3) for version, times in tally.config_at.items()
        },
        "troubles": herd.troubles,
        "rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


def _quantiles(values: list[float]) -> dict[str, float]:
    if len(values) < 2:
        return {}
    cuts = statistics.quantiles(values, n=100)
    return {"p50": round(cuts[49] * 1000, 1), "p99": round(cuts[98] * 1000, 1)}


def _words(figures: dict[str, Any]) -> str:
    newest = max(figures["configs"], key=int, default="")
    config = f"   config {newest}: {figures['configs'][newest]}" if newest else ""
    return (
        f"{figures['seconds']:>7.0f} s   {figures['connected']}/{figures['devices']} connected   "
        f"{figures['sales']} sales, {figures['waiting']} waiting   "
        f"ack {figures['ack_ms'].get('p50', '–')} ms{config}"
    )


def _write(path: Path, figures: dict[str, Any]) -> None:
    fresh = path.with_name(path.name + ".new")
    fresh.write_text(json.dumps(figures, indent=2) + "\n")
    fresh.replace(path)


class _Screen:
    """One line on standard error that is written over, or a line each ten seconds where that is no terminal."""

    def __init__(self) -> None:
        self._is_terminal = sys.stderr.isatty()
        self._shown_at = -1e9

    def line(self, text: str) -> None:
        with contextlib.suppress(OSError):
            if self._is_terminal:
                print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
            elif time.monotonic() - self._shown_at >= 10:
                self._shown_at = time.monotonic()
                print(text, file=sys.stderr, flush=True)

    def end(self) -> None:
        if self._is_terminal:
            print(file=sys.stderr)
