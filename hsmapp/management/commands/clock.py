"""`manage.py clock`: the clocks, the accounts that are ahead, and wall time that waits for a confirmation."""

from __future__ import annotations

import datetime
import getpass
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError
from django.utils.dateparse import parse_duration

from hsmapp import clock, clock_watch
from hsmapp.management.installation_command import InstallationCommand
from hsmapp.models import AccountClock
from hsmapp.unproven_time import IN_WORDS, Reason


class Command(InstallationCommand):
    help = "Show the clocks; move an account's clock; confirm time of which nobody can prove that it passed."

    def add_arguments(self, parser: ArgumentParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        verbs.add_parser("show", help="wall time, accounts whose clock is ahead, and what waits for a confirmation")
        confirming = verbs.add_parser("confirm", help="the time is right: let go of key deletions that were held back")
        confirming.add_argument("span", type=int, nargs="+", help="number of a span, as `show` prints it")
        moving = verbs.add_parser("move", help="set an account's clock ahead of wall time")
        moving.add_argument("account", help="12 digits")
        moving.add_argument("offset", help="how far ahead, such as P30D, PT12H, or PT0S to bring it back")

    def handle(self, *args: object, **options: Any) -> None:
        verb = options["verb"]
        if verb == "show":
            self._show()
        elif verb == "confirm":
            self._confirm(options["span"])
        else:
            self._move(str(options["account"]), str(options["offset"]))

    def _show(self) -> None:
        self.stdout.write(f"wall time  {clock.now():%Y-%m-%d %H:%M:%S} UTC")
        for row in AccountClock.objects.filter(offset__gt=datetime.timedelta()).order_by("account"):
            self.stdout.write(f"{row.account}  {clock.for_account(row.account):%Y-%m-%d %H:%M:%S}, {row.offset} ahead")
        waiting = clock_watch.unconfirmed()
        for span in waiting:
            self.stdout.write(f"span {span.pk}  {span}: {IN_WORDS[Reason(span.reason)]}.")
        if waiting:
            self.stdout.write(
                "Keys whose deletion fell due in such a span are kept until it is confirmed. "
                "Look whether the time above is right, then: manage.py clock confirm <number>"
            )

    def _confirm(self, spans: list[int]) -> None:
        for span in spans:
            if not clock_watch.confirm(span, by=f"{getpass.getuser()}, manage.py"):
                raise CommandError(f"No span {span} waits for a confirmation. `manage.py clock show` lists them.")
            self.stdout.write(f"Span {span} is confirmed.")

    def _move(self, account: str, offset: str) -> None:
        if not (len(account) == 12 and account.isascii() and account.isdigit()):
            raise CommandError(f"{account!r} is not an account: 12 digits.")
        duration = parse_duration(offset)
        if duration is None:
            raise CommandError(f"{offset!r} is not a length of time such as P30D or PT12H.")
        try:
            clock.move(account, duration)
        except ValueError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"{account}  {clock.for_account(account):%Y-%m-%d %H:%M:%S}, {duration} ahead")
