"""The agent's log: structured events on standard error, without secrets and without card numbers.

Import this before anything else that imports structlog.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any, Final, Literal

# structlog takes rich for its tracebacks wherever it finds it, which costs 20 MiB; the agent prints plain ones.
_had_rich = "rich" in sys.modules
if not _had_rich:
    sys.modules["rich"] = None  # type: ignore[assignment]  # makes the import fail, as documented by Python
import structlog  # noqa: E402 (see above)

if not _had_rich:
    del sys.modules["rich"]

from agent.log_book import BOOK  # noqa: E402 (see above)
from protocols.readers.emv import contains_card_number, redact_card_numbers  # noqa: E402
from protocols.secret import HIDDEN  # noqa: E402

LogFormat = Literal["json", "console"]
LogLevel = Literal["debug", "info", "warning", "error"]

_LEVELS: Final[dict[LogLevel, int]] = {"debug": 10, "info": 20, "warning": 30, "error": 40}


def _nobody(_field: str) -> None:
    return


_listener: Callable[[str], None] = _nobody
_SECRET_NAMES: Final = re.compile(r"(?i)password|secret|token|private")


def configure_logs(form: LogFormat = "json", level: LogLevel = "info") -> None:
    """Set structlog up; may be called again."""
    renderer: Any = (
        structlog.processors.JSONRenderer(ensure_ascii=False)
        if form == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    before: list[Any] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        redact,
        _keep,
    ]
    structlog.configure(
        processors=[*before, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=False,
    )


def tell_of_cards(listener: Callable[[str], None]) -> None:
    """From now on call `listener` with the field of each log line that a card number was masked in.

    Called from whatever thread logs.
    """
    global _listener  # noqa: PLW0603 - structlog is one for the process, too
    _listener = listener


def _keep(
    _logger: object, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    BOOK.write(event)
    return event


def redact(
    _logger: object, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """A structlog processor: fields with telling names are hidden, card numbers masked, wherever they stand."""
    for name, value in event.items():
        if _SECRET_NAMES.search(name):
            event[name] = HIDDEN
            continue
        event[name] = without_cards(value)
        if isinstance(value, str) and event[name] != value:
            _listener(f"log.{name}")
    return event


def without_cards(value: object) -> object:
    """Plain JSON values, with card numbers masked and fields with telling names hidden, however deep they stand."""
    match value:
        case bool() | None | float():
            return value
        case int():
            return redact_card_numbers(str(value)) if contains_card_number(str(value)) else value
        case str():
            return redact_card_numbers(value)
        case Mapping():
            return {
                str(name): HIDDEN if _SECRET_NAMES.search(str(name)) else without_cards(one)
                for name, one in value.items()
            }
        case list() | tuple() | set() | frozenset():
            return [without_cards(one) for one in value]
        case _:
            return redact_card_numbers(str(value))
