"""Write log lines: one for each event, with its reason, as text or JSON, and without personal data."""

import logging
import sys
from functools import cached_property
from typing import Any, Final, Literal

from nurture.errors import format_error_chain

LogFormat = Literal["text", "json"]
LogLevel = Literal["debug", "info", "warning", "error"]

OUR_LOGGERS: Final = ("nurture", "flows")
_FIRST: Final = ["time", "level", "event", "logger"]


def configure(kind: LogFormat, level: LogLevel) -> None:
    """Let this process write log lines to standard error; our own from *level*, those of libraries from warnings.

    A program that has set up its logging itself, such as a worker of Prefect, keeps it.
    """
    for name in OUR_LOGGERS:
        logging.getLogger(name).setLevel(level.upper())
    root = logging.getLogger()
    if root.handlers and not any(isinstance(one.formatter, EventFormatter) for one in root.handlers):
        return
    lines = logging.StreamHandler(sys.stderr)
    lines.setFormatter(EventFormatter(kind))
    lines.addFilter(_is_ours_or_warning)  # Prefect sets lower levels on loggers of its own
    root.handlers[:] = [lines]
    root.setLevel(logging.WARNING)


def _is_ours_or_warning(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.WARNING or record.name.partition(".")[0] in OUR_LOGGERS


class EventFormatter(logging.Formatter):
    """Formats an event with its fields, by structlog, which is loaded for the first line."""

    def __init__(self, kind: LogFormat) -> None:
        super().__init__()
        self._kind = kind

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of *record*; of an error it has types and places, never the message."""
        return self._lines.format(record)

    @cached_property
    def _lines(self) -> logging.Formatter:
        import structlog  # noqa: PLC0415 - most processes log nothing

        renderer: Any = structlog.processors.JSONRenderer()
        if self._kind == "text":
            renderer = structlog.processors.LogfmtRenderer(key_order=_FIRST, drop_missing=True)
        return structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[
                structlog.stdlib.add_log_level,
                structlog.stdlib.add_logger_name,
                structlog.stdlib.ExtraAdder(),
                structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
            ],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _redact_error, renderer],
        )


def _redact_error(_logger: Any, _method: str, event: Any) -> Any:
    """Replace an exception by its types and places: messages may quote personal data."""
    event.pop("exc_text", None)
    event.pop("stack_info", None)
    raised = event.pop("exc_info", None)
    error = raised[1] if isinstance(raised, tuple) else raised
    if isinstance(error, BaseException):
        event["error"] = format_error_chain(error)
    return event
