"""What the operator sees: log lines, and numbers for Prometheus.

Logs go to stderr: lines for people on a terminal, one JSON object a line elsewhere. Never log per frame. What libraries
say through ``logging`` comes out the same way, from "warning" upwards.

Numbers live in a registry of Konnect's own. A room makes its counters once, when it is imported, and keeps them (and
the children that ``labels()`` gives): ``SENT = counter("konnect_frames_sent_total", "Frames sent to clients.")``.
"""

import logging
import sys
from collections.abc import MutableMapping
from contextlib import suppress
from typing import Any, Final, Literal, TextIO, TypeAlias

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

REGISTRY: Final = CollectorRegistry()
CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)

Event: TypeAlias = MutableMapping[str, Any]

ProcessCollector(registry=REGISTRY)


def counter(name: str, meaning: str, labels: tuple[str, ...] = ()) -> Counter:
    """A number that only rises. *name* starts with ``konnect_`` and ends with ``_total``."""
    return Counter(name, meaning, labels, registry=REGISTRY)


def gauge(name: str, meaning: str, labels: tuple[str, ...] = ()) -> Gauge:
    """A number that goes up and down; ``set_function`` asks for it only when Prometheus does."""
    return Gauge(name, meaning, labels, registry=REGISTRY)


def histogram(
    name: str, meaning: str, labels: tuple[str, ...] = (), buckets: tuple[float, ...] = SECONDS
) -> Histogram:
    """How often which size; for times in seconds *name* ends with ``_seconds``."""
    return Histogram(name, meaning, labels, registry=REGISTRY, buckets=buckets)


def exposition() -> bytes:
    """All numbers as Prometheus reads them, for ``/metrics``; its type is ``CONTENT_TYPE``. Takes some milliseconds."""
    return generate_latest(REGISTRY)


def set_up_logs(
    level: Literal["debug", "info", "warning", "error"] = "info",
    form: Literal["auto", "text", "json"] = "auto",
    stream: TextIO | None = None,
) -> None:
    """Send log lines of *level* and above to *stream* (stderr when None), in one of two forms."""
    out = sys.stderr if stream is None else stream
    text = form == "text" or (form == "auto" and out.isatty())
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="%H:%M:%S" if text else "iso", utc=not text, key="at"),
    ]
    # Tracebacks without the values of local variables: those may be passwords and tokens.
    last: list[structlog.typing.Processor]
    if text:
        plain = structlog.dev.plain_traceback
        last = [
            structlog.dev.ConsoleRenderer(
                colors=out.isatty(), timestamp_key="at", pad_event_to=0, pad_level=False, exception_formatter=plain
            )
        ]
    else:
        last = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(default=str)]
    number = getattr(logging, level.upper())
    structlog.configure(
        processors=[*shared, _add_room, *last],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=lambda *names: _Lines(out, str(names[0]) if names else "konnect"),
        cache_logger_on_first_use=False,  # or a logger made before this call would keep the old form
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name, structlog.stdlib.ExtraAdder()],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    logging.basicConfig(level=max(number, logging.WARNING), handlers=[handler], force=True)


class _Lines:
    """Where a logger's lines go; knows the name that the logger was asked for with."""

    def __init__(self, out: TextIO, name: str) -> None:
        self._out, self.name = out, name

    def _write(self, line: str) -> None:
        with suppress(OSError, ValueError):  # nobody reads any more (`konnect serve | head`): no reason to fall over
            self._out.write(line + "\n")  # one write a line, so that two processes do not mix theirs
            self._out.flush()

    debug = info = warning = error = critical = exception = msg = _write


def _add_room(logger: Any, _method: str, event: Event) -> Event:
    event["logger"] = logger.name
    return event
