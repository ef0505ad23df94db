"""Proves the shop: sells through the public API on every terminal, then compares the ledger with their own books."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import httpx2

from control_plane.demo.answers import Failed, answer_of
from control_plane.demo.card_acquirer import CardAcquirer
from control_plane.demo.check_processor import ProcessorReport, check_processor
from control_plane.demo.stage import Stage
from control_plane.demo.terminals import Terminal

_SALE_S: Final = 25.0
_BOOKS_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Story:
    """One sale to make, and how it must end."""

    name: str
    amount_minor: int
    ends: str
    #: Told to the terminal before; else the amount tells the story.
    script: str = ""
    cancel_at: str = ""
    decided_by: tuple[str, ...] = ("answer",)
    #: Concert knows neither a cancel nor a question after the last payment: its sale would wait for a person.
    not_on: tuple[str, ...] = ()


#: The last two digits choose what the simulated terminals do (``omnitill-agent simulate --help``).
STORIES: Final = (
    Story("approved", 12_34, "approved"),
    Story("declined", 20_05, "declined"),
    Story(
        "cancelled",
        30_30,
        "cancelled",
        script="no_card",
        cancel_at="waiting_for_card",
        not_on=("concert",),
    ),
    Story(
        "lost_answer",
        40_97,
        "approved",
        decided_by=("recall", "totals", "reader_status"),
        not_on=("concert",),
    ),
)


#: On readers that only read cards: the last two digits choose for the reader, or for the acquirer.
SEALED_STORIES: Final = (
    Story("approved", 21_00, "approved"),
    Story("swiped", 18_11, "approved"),
    Story("declined by the issuer", 20_51, "declined"),
    Story("approved by the issuer, not by the card", 33_13, "declined", not_on=("idtech_neo",)),
    Story("red key", 15_08, "cancelled"),
)


@dataclass(slots=True)
class Sale:
    """One sale as it went."""

    story: str
    amount_minor: int
    session_id: str = ""
    state: str = ""
    decided_by: str = ""
    explanation: str = ""
    steps: list[str] = field(default_factory=list)
    seconds: float = 0.0


@dataclass(slots=True)
class Sum:
    """Standing payments: how many, and what they come to."""

    count: int
    sum_minor: int


@dataclass(slots=True)
class TerminalReport:
    """What was sold on one terminal, by the ledger and by its own books."""

    name: str
    line: str
    reader_id: str
    sales: list[Sale] = field(default_factory=list)
    ledger: Sum | None = None
    books: Sum | None = None


@dataclass(slots=True)
class Report:
    """Everything that was found out; ``failures`` are sentences."""

    #: Name and line of each reader that was ready.
    ready: dict[str, str] = field(default_factory=dict)
    terminals: list[TerminalReport] = field(default_factory=list)
    processor: ProcessorReport = field(default_factory=ProcessorReport)
    failures: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {"ok": not self.failures, **asdict(self)}


def check(stage: Stage, say: Callable[[str], None]) -> Report:
    """Make every story's sale on every terminal, the terminals side by side; then compare the books."""
    report = Report()
    readers = stage.wait_until_ready()
    report.ready = {terminal.name: terminal.line for terminal in stage.terminals}
    sellers = [
        (terminal, reader)
        for terminal, reader in zip(stage.terminals, readers, strict=True)
        if terminal.authorises
    ]
    key = stage.make_api_key().reveal()
    with httpx2.Client(
        base_url=stage.url, headers={"Authorization": f"Bearer {key}"}, timeout=_SALE_S
    ) as api:
        report.terminals = [
            TerminalReport(terminal.name, terminal.line, reader.id) for terminal, reader in sellers
        ]
        pairs = [
            (terminal, found)
            for (terminal, _), found in zip(sellers, report.terminals, strict=True)
        ]
        with ThreadPoolExecutor(len(pairs)) as pool:
            for task in [pool.submit(_sell_on, api, *pair, report, say) for pair in pairs]:
                task.result()
        for terminal, found in pairs:
            try:
                _compare(api, terminal, found, report)
            except (Failed, httpx2.HTTPError) as failure:
                report.failures.append(f"{found.name}, comparing the books: {failure}")
        sealed = [
            (terminal, TerminalReport(terminal.name, terminal.line, reader.id))
            for terminal, reader in zip(stage.terminals, readers, strict=True)
            if not terminal.authorises
        ]
        for terminal, found in sealed:
            report.terminals.append(found)
            _sell_on(api, terminal, found, report, say, SEALED_STORIES)
        _compare_sealed(api, stage.card_acquirer, [found for _, found in sealed], report)
        report.processor = check_processor(
            api, stage.acquirer, stage.cloud_reader(), report.failures, say
        )
    return report


def _sell_on(
    api: httpx2.Client,
    terminal: Terminal,
    found: TerminalReport,
    report: Report,
    say: Callable[[str], None],
    stories: Sequence[Story] = STORIES,
) -> None:
    for story in stories:
        if terminal.protocol in story.not_on:
            continue
        sale = Sale(story.name, story.amount_minor)
        found.sales.append(sale)
        try:
            _sell(api, terminal, found.reader_id, story, sale)
        except (Failed, httpx2.HTTPError) as failure:
            report.failures.append(f"{terminal.name}, {story.name}: {failure}")
        say(
            f"{terminal.name}: {story.name} ended {sale.state or 'nowhere'} in {sale.seconds:.1f} s"
        )


def _sell(api: httpx2.Client, terminal: Terminal, reader_id: str, story: Story, sale: Sale) -> None:
    if story.script:
        _trick(terminal, "script", name=story.script)
    began = time.monotonic()
    session = _start(api, reader_id, story)
    sale.session_id = session["id"]
    for event, told in _follow(api, sale.session_id):
        if event == "step":
            sale.steps.append(told["kind"])
            if told["kind"] == story.cancel_at and story.cancel_at:
                answer_of(api.post(f"/v1/sessions/{sale.session_id}/cancel"))
        else:
            session = told
    sale.seconds = round(time.monotonic() - began, 2)
    sale.state, sale.explanation = session["state"], session["explanation"]
    sale.decided_by = session["decided_by"] or ""
    if sale.state != story.ends:
        raise Failed(f"ended as {sale.state}, not as {story.ends}. {sale.explanation}".strip())
    if sale.decided_by not in story.decided_by:
        raise Failed(f"was decided by {sale.decided_by or 'nothing'}, not by {story.decided_by}")


def _start(api: httpx2.Client, reader_id: str, story: Story) -> Any:
    """A terminal that was cut off is busy with itself for a moment: a retryable refusal is retried."""
    deadline = time.monotonic() + _SALE_S
    wish = {
        "reader_id": reader_id,
        "amount_minor": story.amount_minor,
        "currency": "EUR",
        "reference": f"check {story.name}",
    }
    while True:
        answer = api.post(
            "/v1/sessions",
            json=wish,
            headers={"Idempotency-Key": f"check-{reader_id}-{story.name}"},
        )
        if answer.is_success or not answer.json().get("retryable") or time.monotonic() > deadline:
            return answer_of(answer)
        time.sleep(0.1)


def _follow(api: httpx2.Client, session_id: str) -> Iterator[tuple[str, Any]]:
    """Events of the session's stream to its end. Raises Failed when it takes too long."""
    deadline = time.monotonic() + _SALE_S
    with api.stream("GET", f"/v1/sessions/{session_id}/events") as answer:
        if not answer.is_success:
            answer.read()
            answer_of(answer)
        event = ""
        for line in answer.iter_lines():
            if time.monotonic() > deadline:
                break
            name, _, value = line.partition(": ")
            if name == "event":
                event = value
            elif name == "data":
                yield event, json.loads(value)
                if event == "end":
                    return
    raise Failed(f"had not ended after {_SALE_S:.0f} s")


def _compare(api: httpx2.Client, terminal: Terminal, found: TerminalReport, report: Report) -> None:
    """The ledger against the terminal's own books, to the cent; and every session in it exactly once."""
    rows = _ledger(api, found.reader_id)
    seen = Counter(row["session_id"] for row in rows)
    for sale in found.sales:
        if sale.session_id and seen[sale.session_id] != 1:
            report.failures.append(
                f"{found.name}, {sale.story}: is {seen[sale.session_id]} times in the ledger"
            )
    strangers = seen.keys() - {sale.session_id for sale in found.sales}
    if strangers:
        report.failures.append(f"{found.name}: the ledger has payments that nobody made")
    signs = {"sale": 1, "refund": -1, "reversal": -1}
    standing = [row for row in rows if row["status"] == "approved"]
    found.ledger = Sum(
        len(standing), sum(signs[row["kind"]] * row["amount_minor"] for row in standing)
    )
    books = _books(terminal)
    found.books = Sum(books["count"], books["sum_minor"])
    if found.ledger != found.books:
        report.failures.append(
            f"{found.name}: the ledger has {found.ledger.count} payments of {found.ledger.sum_minor} cents, "
            f"the terminal {found.books.count} of {found.books.sum_minor}"
        )


def _compare_sealed(
    api: httpx2.Client,
    acquirer: CardAcquirer,
    readers: Sequence[TerminalReport],
    report: Report,
) -> None:
    """What the ledger says of all readers that only read cards against the acquirer's books, once it has settled."""
    for found in readers:
        standing = [row for row in _ledger(api, found.reader_id) if row["status"] == "approved"]
        found.ledger = Sum(len(standing), sum(row["amount_minor"] for row in standing))
    expected = sum(found.ledger.sum_minor for found in readers if found.ledger)
    deadline = time.monotonic() + _SALE_S
    while True:
        books = acquirer.balances().get("EUR", {"net": 0, "reserved": 0})
        if (books["net"], books["reserved"]) == (expected, 0):
            return
        if time.monotonic() > deadline:
            report.failures.append(
                f"The ledger has {expected} cents of encrypting readers, the acquirer {books['net']} "
                f"and {books['reserved']} still held on cards"
            )
            return
        time.sleep(0.2)


def _ledger(api: httpx2.Client, reader_id: str) -> list[Any]:
    rows: list[Any] = []
    cursor: str | None = None
    while True:
        params = {"reader_id": reader_id, "limit": "200"} | ({"cursor": cursor} if cursor else {})
        page = answer_of(api.get("/v1/transactions", params=params))
        rows += page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            return rows


def _books(terminal: Terminal) -> Any:
    return answer_of(httpx2.get(f"{terminal.control}/state", timeout=_BOOKS_S))


def _trick(terminal: Terminal, trick: str, **facts: str) -> None:
    answer_of(httpx2.post(f"{terminal.control}/actions/{trick}", json=facts, timeout=_BOOKS_S))
