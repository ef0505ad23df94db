"""The log: structured events on standard error, without secrets and without card numbers."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any, Final

import structlog

from control_plane.config import LogSettings
from protocols.readers.emv import contains_card_number, redact_card_numbers
from protocols.secret import HIDDEN

_SECRET_NAMES: Final = re.compile(r"(?i)password|passwd|token|secret|authorization|cookie|api_?key")
_LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40}


def configure_logs(settings: LogSettings) -> None:
    """Set up structlog, and send what libraries log the same way."""
    level = _LEVELS[settings.level]
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        hide_secrets,
    ]
    renderer: Any = (
        structlog.processors.JSONRenderer(ensure_ascii=False)
        if settings.format == "json"
        else structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    )
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    logging.basicConfig(handlers=[handler], level=max(level, logging.WARNING), force=True)


def hide_secrets(
    logger: object, method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """A structlog processor: fields with telling names are hidden, and card numbers masked."""
    del logger, method
    for name, value in event.items():
        event[name] = HIDDEN if _SECRET_NAMES.search(name) else _without_cards(value)
    return event


def _without_cards(value: Any) -> Any:
    match value:
        case str():
            return redact_card_numbers(value)
        case bytes():
            return _without_cards(value.decode("latin-1"))
        case Mapping():
            return {
                name: HIDDEN if _SECRET_NAMES.search(str(name)) else _without_cards(one)
                for name, one in value.items()
            }
        case list() | tuple() | set() | frozenset():
            return [_without_cards(one) for one in value]
        case bool() | None | float():
            return value
        case int():
            return redact_card_numbers(str(value)) if contains_card_number(str(value)) else value
        case _:
            return _without_cards(str(value))
