"""Work that is due: transitions are rows with a due time; whoever changes such a row by a conditional UPDATE does it.

A handler looks for its due rows, claims each, carries it out and returns how many it did. It must be safe to run twice
and on several machines at once.
"""

from __future__ import annotations

import datetime
import logging
import signal
import threading
from collections.abc import Callable

from django.conf import settings
from django.db import close_old_connections
from django.db.models.functions import Now

from hsmapp import clock, heartbeat
from hsmapp.models import KeyIntent
from hsmapp.states import IntentState

logger = logging.getLogger(__name__)

Handler = Callable[[datetime.datetime], int]
ROUND_SECONDS = 0.2
STUCK_SECONDS = 600.0  # no round takes that long; the longest handlers go through all keys of a cluster
_handlers: dict[str, Handler] = {}


def handler(name: str) -> Callable[[Handler], Handler]:
    """Register a handler under a name for the log."""

    def register(function: Handler) -> Handler:
        _handlers[name] = function
        return function

    return register


def transition_due(now: datetime.datetime) -> datetime.datetime:
    """When a transition that begins now is due: at once, or after the time that people expect to see it take."""
    seconds = 0 if settings.IMMEDIATE else settings.TRANSITION_SECONDS
    return now + datetime.timedelta(seconds=seconds)


def run_due() -> int:
    """Run every handler once; one that fails does not keep the others from running."""
    done = 0
    for name, function in _handlers.items():
        try:
            done += function(clock.now())
        except Exception:  # the job loop's last stage: whatever a handler raises is logged, and it is due again
            logger.exception("job %s failed", name)
    return done


def run() -> None:
    """Run due work until SIGTERM or SIGINT."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    heart = heartbeat.begin("jobs", stuck_after_seconds=STUCK_SECONDS)
    while not stop.wait(ROUND_SECONDS):
        heart.progress()
        close_old_connections()
        run_due()


@handler("abandon overdue intents")
def abandon_overdue_intents(now: datetime.datetime) -> int:
    """Give up keys whose making was cut short (kill -9): their objects go when each HSM is next brought up to date."""
    # By the database's clock, which wrote the deadline too: machines may disagree about the time.
    return KeyIntent.objects.filter(state=IntentState.OPEN, deadline__lt=Now()).update(state=IntentState.ABANDONED)
