"""What the server's log makes of requests that Django refuses before a view sees them."""

from __future__ import annotations

import logging


class RefusalsInOneLine(logging.Filter):
    """Makes one warning of a refused request (a wrong Host, too many fields).

    Django logs them as errors with a traceback, so that anybody could fill the log with what looks like faults of ours.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name.startswith("django.security."):
            record.levelno, record.levelname = logging.WARNING, logging.getLevelName(logging.WARNING)
            record.exc_info = record.exc_text = None
        return True
