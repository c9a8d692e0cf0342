"""Logs for people and for machines: coloured lines on a terminal, one JSON object a line elsewhere."""

from __future__ import annotations

import logging
import sys
from typing import Any

import msgspec
import structlog

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


def configure_logs(level: str, form: str) -> None:
    """Write to standard error from `level` on. `form`: console, json, or auto (console on a terminal)."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=False),
    ]
    if form == "json" or (form == "auto" and not sys.stderr.isatty()):
        shared += [structlog.processors.format_exc_info, _to_json]
        factory: Any = structlog.PrintLoggerFactory(sys.stderr)
    else:
        shared += [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]
        factory = structlog.PrintLoggerFactory(sys.stderr)
    structlog.configure(
        processors=shared,
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=factory,
        cache_logger_on_first_use=True,
    )


def _to_json(_: Any, __: str, event: Any) -> str:
    return msgspec.json.encode(event, enc_hook=repr).decode()
