"""``omnitill demo``: a whole shop on this machine, with simulated readers."""

from __future__ import annotations

import argparse
import ipaddress
import json
import signal
import sys
import threading
import time
from pathlib import Path
from typing import TextIO

from control_plane.demo import seed
from control_plane.demo.acquirer import READERS
from control_plane.demo.check import check
from control_plane.demo.children import Death, ProgramMissing
from control_plane.demo.stage import NotReady, Options, ShownReader, Stage, opened
from control_plane.mqtt.broker import BrokerDown

_EXAMPLE = """\
The last two digits of an amount choose what the terminals do:
  .05 declined    .08 the customer cancels    .10 PIN    .51 not enough money
  .97 the line drops and the card is charged all the same: watch how it is found out
Others are approved. All of them: omnitill-agent simulate zvt --help

The fields for a typed card say which test number to try; any date to come, any security code.

Example:
  omnitill demo
  omnitill demo --port 9000 --data-dir ./shop --lang fr
  omnitill demo --check
"""


_LINES = {
    "serial": "on a serial line",
    "tcp": "on the network",
    "usb": "on USB",
    "ble": "on Bluetooth",
}
#: How an agent ends that was told to start anew.
_ASKED_TO_RESTART = 75


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "demo",
        help="run a whole shop on this machine, with simulated readers",
        description=(
            "Run a whole shop on this machine: broker, database, pages, an agent, terminals that are not there, on "
            "serial lines and on the network, and a card processor with play money and readers of its own."
        ),
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--port", type=int, default=8000, help="for the pages (default 8000)")
    parser.add_argument(
        "--host", type=_loopback, default="127.0.0.1", help="a loopback address (default 127.0.0.1)"
    )
    parser.add_argument(
        "--data-dir", type=Path, help="keep everything here (default: nothing is kept)"
    )
    parser.add_argument(
        "--broker", choices=["nats", "mosquitto"], default="nats", help="default nats"
    )
    parser.add_argument(
        "--database", default="", metavar="URL", help="postgresql://… (default: SQLite)"
    )
    parser.add_argument(
        "--full",
        action="store_true",
        help="readers on USB and Bluetooth too; make demo-full installs what they need",
    )
    parser.add_argument("--lang", choices=["en", "fr"], help="language of the people in the shop")
    parser.add_argument(
        "--check",
        action="store_true",
        help="sell on every terminal without a browser, compare the books, print JSON",
    )
    parser.set_defaults(run=run)


def run(chosen: argparse.Namespace) -> int:
    """Run the shop until Ctrl-C, or check it; 1 when something is not as it must be."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    try:
        return _check(chosen) if chosen.check else _run(chosen, stop)
    except (BrokerDown, NotReady, ProgramMissing, RuntimeError, OSError) as failure:
        print(f"omnitill demo: {failure}", file=sys.stderr)
        return 1


def _run(chosen: argparse.Namespace, stop: threading.Event) -> int:
    words = _Words(sys.stdout)
    began = time.monotonic()

    def on_page(url: str) -> None:
        words.opened(url, chosen.port, time.monotonic() - began)

    with opened(_options(chosen, pace=1.0), on_page=on_page, on_death=words.died) as stage:
        readers = _ready(stage, stop)
        if readers:
            words.ready(stage, readers, is_kept=chosen.data_dir is not None)
        stop.wait()
        words.closing()
    return 0


def _ready(stage: Stage, stop: threading.Event) -> list[ShownReader]:
    """The readers, or nothing when somebody lost patience."""
    deadline = time.monotonic() + 30
    while not stop.is_set():
        try:
            return stage.wait_until_ready(0.2)
        except NotReady:
            if time.monotonic() > deadline:
                raise
    return []


def _check(chosen: argparse.Namespace) -> int:
    began = time.monotonic()
    words = _Words(sys.stderr)
    page_s = 0.0

    def on_page(url: str) -> None:
        nonlocal page_s
        page_s = time.monotonic() - began
        print(f"Pages on {url} after {page_s:.1f} s.", file=sys.stderr)

    options = _options(chosen, pace=0.2)
    with opened(options, on_page=on_page, on_death=words.died) as stage:
        stage.wait_until_ready()
        ready_s = time.monotonic() - began
        print(f"Readers ready after {ready_s:.1f} s.", file=sys.stderr)
        report = check(stage, lambda line: print(line, file=sys.stderr))
        found = report.as_json()
    found |= {
        "broker": options.broker,
        "database": "postgresql" if options.database_url else "sqlite",
        "seconds": {
            "to_first_page": round(page_s, 2),
            "to_ready_readers": round(ready_s, 2),
            "in_all": round(time.monotonic() - began, 2),
        },
    }
    print(json.dumps(found, ensure_ascii=False))
    for failure in report.failures:
        print(f"✗ {failure}", file=sys.stderr)
    return 1 if report.failures else 0


def _options(chosen: argparse.Namespace, *, pace: float) -> Options:
    return Options(
        host=chosen.host,
        port=chosen.port,
        data_dir=chosen.data_dir,
        broker=chosen.broker,
        database_url=chosen.database,
        language=chosen.lang,
        pace=pace,
        with_history=not chosen.check,
        is_full=chosen.full,
    )


def _loopback(text: str) -> str:
    """The demo's passwords are public, so nobody else may reach it."""
    try:
        address = ipaddress.ip_address("127.0.0.1" if text == "localhost" else text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} is no address of this machine") from None
    if not address.is_loopback:
        raise argparse.ArgumentTypeError(
            "the demo is for this machine only, such as 127.0.0.1: its passwords are public"
        )
    return str(address)


class _Words:
    """What the person at the keyboard reads."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._colours = out.isatty()

    def opened(self, url: str, asked: int, seconds: float) -> None:
        """Pages are answered."""
        port = int(url.rpartition(":")[2])
        taken = "" if port == asked else f"  (port {asked} is taken)"
        self._lines(
            "",
            f"  {self._bold('Omnitill')}  {seed.ORGANISATION}",
            "",
            f"  {self._dim('Open     ')}  {self._bold(url)}{self._dim(taken)}",
            f"  {self._dim('         ')}  {self._dim(f'after {seconds:.1f} s; the readers follow')}",
        )

    def ready(self, stage: Stage, readers: list[ShownReader], *, is_kept: bool) -> None:
        """Everything runs."""
        width = max(len(person.email) for person in seed.PEOPLE)
        self._lines("")
        for number, person in enumerate(seed.PEOPLE):
            label = "Sign in  " if number == 0 else "         "
            self._lines(
                f"  {self._dim(label)}  {person.email:<{width}}   {self._dim(f'{person.name}, {person.role.value}')}"
            )
        self._lines(
            f"  {self._dim('Password ')}  {self._bold(seed.PASSWORD)}  {self._dim('for all')}", ""
        )
        for number, (reader, terminal) in enumerate(zip(readers, stage.terminals, strict=True)):
            label = "Readers  " if number == 0 else "         "
            line = _LINES[terminal.line]
            self._lines(
                f"  {self._dim(label)}  {self._green('●')} {reader.name}  {self._dim(f'{line}, {reader.state}')}"
            )
        for _, name in READERS:
            self._lines(
                f"             {self._green('●')} {name}  {self._dim('driven from the cloud, by Stripe')}"
            )
        self._lines(
            "",
            f"  {self._dim('Try      ')}  12.34 approved, 5.05 declined, 8.08 cancelled, 9.97 the answer is lost",
            f"  {self._dim('Keyed    ')}  the card fields say which number to type; any date, any code",
            f"  {self._dim('Cards    ')}  {stage.url}/simulated-readers  {self._dim('tap, pull the cable, wrong PIN')}",
            f"  {self._dim('Sandbox  ')}  {stage.acquirer.url}/_sandbox/  {self._dim('taps cards, turns the clock')}",
            f"  {self._dim('Mail     ')}  {stage.url}/mailbox",
            f"  {self._dim('Files    ')}  {stage.folder}  {self._dim('kept' if is_kept else 'gone when you stop')}",
            f"  {self._dim('Logs     ')}  {stage.folder / 'logs'}",
            f"  {self._dim('Stop     ')}  Ctrl-C",
            "",
        )

    def died(self, death: Death) -> None:
        """A child ended by itself."""
        if death.exit_code == _ASKED_TO_RESTART:
            return
        self._lines(
            "",
            f"  {self._red('●')} {death.name} ended with {death.exit_code}; "
            f"it is started again in {death.restarts_in_s:g} s. Its last words:",
            *(f"      {self._dim(line)}" for line in death.last_lines),
        )

    def closing(self) -> None:
        """Ctrl-C came."""
        self._lines("", "  Closing the shop.")

    def _lines(self, *lines: str) -> None:
        print(*lines, sep="\n", file=self._out, flush=True)

    def _bold(self, text: str) -> str:
        return self._in(1, text)

    def _dim(self, text: str) -> str:
        return self._in(2, text)

    def _green(self, text: str) -> str:
        return self._in(32, text)

    def _red(self, text: str) -> str:
        return self._in(31, text)

    def _in(self, code: int, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._colours else text
