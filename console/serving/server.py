"""The story of one server, from its command line to its end."""

from __future__ import annotations

import datetime
import os
import resource
import sys
import time
from typing import NoReturn

from console.serving import checks, credentials, resets, seeding, stopping, tls
from console.serving.health import is_healthy
from console.serving.options import CannotStartError, Options, parse
from console.serving.processes import KeepsFailingError, Processes
from console.serving.screen import say, show
from hsmapp import sealing
from hsmapp.softhsm import SoftHsmMissingError, find_module

HEALTHY_SECONDS = 90.0
WATCH_SECONDS = 0.2
CERTIFICATE_SECONDS = 10.0
CERTIFICATE_AGAIN_SECONDS = 600.0


def main(arguments: list[str]) -> int:
    """Serve; return the exit code: 1 something kept failing, 2 can't start. Raises StopRequested when told to stop."""
    started = time.monotonic()
    os.umask(0o077)  # what it keeps is its owner's only
    try:
        options = parse(arguments)
        claim = checks.claim_port(options)
        try:
            return _serve(options, started)
        finally:
            claim.close()
    except (CannotStartError, SoftHsmMissingError, sealing.SealingError) as error:
        print(error, file=sys.stderr)
        return 2
    except KeepsFailingError as error:
        print(error, file=sys.stderr)
        return 1


def _serve(options: Options, started: float) -> int:
    checks.check_folder(options.data)
    checks.check_master_key_file(options.master_key_file)
    if options.tls:
        tls.check(options.data)
    with checks.folder_lock(options.data):
        checks.check_restore(options.data)
        _set_up_django(options)
        stopping.check()
        if _check_database(options):
            seeding.begin(options)
        else:
            seeding.require_same(options)
        os.environ["PKCS11_MODULE"] = str(find_module(options.data, announce=say))
        _prepare(options)
        stopping.check()
        _run(options, started)
    return 0


def _set_up_django(options: Options) -> None:
    """Load the settings for this data folder, in this process and in those it starts."""
    os.environ.update(options.environment())
    # A core dump of a process that holds keys would be a copy of the keys.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    import django

    django.setup()


def _check_database(options: Options) -> bool:
    """Check the database; return whether there is none yet."""
    from console.serving import database

    is_new = database.is_new()
    if not is_new:
        database.check(options.master_key_file)
    if not options.is_loopback and (_will_have_demo(options) if is_new else seeding.has_demo(options.data)):
        raise CannotStartError(
            "The demo's people and passwords are for one machine only: serve it on 127.0.0.1, "
            "or name another data folder and say --empty."
        )
    return is_new


def _will_have_demo(options: Options) -> bool:
    """Whether a new installation begins with the demo."""
    begun = seeding.unfinished(options.data)
    return not options.empty and options.seed is None and (begun is None or begun.is_demo)


def _prepare(options: Options) -> None:
    """Make what a start needs and is not there yet."""
    from console.serving import database

    if not options.master_key_file.exists():
        sealing.make_master_key(options.master_key_file)
    if options.tls:
        tls.prepare(options, now=datetime.datetime.now(datetime.UTC))
    if database.needs_migration():
        say("Preparing the database …")
        database.migrate()
    database.note_that_no_hsm_runs()
    if database.static_files_changed():
        say("Collecting static files …")
        database.collect_static_files()


def _run(options: Options, started: float) -> None:
    """Run the processes until a signal; whatever ends this ends them."""
    keyring = sealing.Keyring.from_master_key(options.master_key_file.read_bytes())
    processes = Processes(options, keyring)
    try:
        say("Starting the HSMs …")
        processes.start()
        stopping.check()
        # Before it is healthy: whoever has waited for that finds the files, and in aws.env this start's address.
        people = _people(options, processes)
        _wait_until_healthy(options, processes)
        if options.resettable:
            _wait_for_every_hsm(processes)
            resets.prepare(options.data)
        show(options, people, time.monotonic() - started, is_demo=seeding.has_demo(options.data))
        _watch(options, processes)
    finally:
        processes.stop()


def _watch(options: Options, processes: Processes) -> NoReturn:
    """Keep everything running until a signal ends this."""
    look_at_certificate = time.monotonic() + CERTIFICATE_SECONDS
    while True:
        time.sleep(WATCH_SECONDS)
        stopping.check()
        processes.tend()
        if options.tls and time.monotonic() >= look_at_certificate:
            looked = _renew_certificate(options, processes)
            look_at_certificate = time.monotonic() + (CERTIFICATE_SECONDS if looked else CERTIFICATE_AGAIN_SECONDS)


def _renew_certificate(options: Options, processes: Processes) -> bool:
    """Renew the certificate if it is time; False if that can't be seen now. The one in use is good for months."""
    if not tls.root_path(options.data).exists():
        say("The TLS root is not there. The server goes on with the certificate it has; clients trust that root only.")
        return False
    try:
        renewed = tls.prepare(options, now=datetime.datetime.now(datetime.UTC))
    except (CannotStartError, OSError) as error:
        say(f"The server goes on with the certificate it has: {error}")
        return False
    if renewed:
        say("The server certificate was made anew.")
        processes.show_new_certificate()
    return True


def _people(options: Options, processes: Processes) -> list[dict[str, str]]:
    """The people whose passwords are known here, and aws.env for one of them. Makes first what is not all there."""
    begun = seeding.unfinished(options.data)
    if begun is not None:
        _seed(options, processes, begun)
    people = credentials.read_people(options.data)
    credentials.write_aws_env(options, people, seeding.region(options.data))
    seeding.finish(options.data)
    return people


def _seed(options: Options, processes: Processes, begun: seeding.Unfinished) -> None:
    from kmsapp.seed_file import seed
    from kmsapp.seeding import making
    from kmsapp.seeding.errors import SeedingError

    def between() -> None:
        stopping.check()
        processes.tend()

    read = seed.read(begun.text.encode())
    say(f"Making {'the demo' if begun.is_demo else f'what {begun.file} says'}: {read.in_numbers()} …")
    try:
        people = making.make(read, begun.drawn, between)
    except SeedingError as error:
        raise KeepsFailingError(f"{begun.file} could not be made. {error} See {options.data / 'log'}.") from error
    credentials.write_people(options.data, people)


def _wait_until_healthy(options: Options, processes: Processes) -> None:
    deadline = time.monotonic() + HEALTHY_SECONDS
    ca_file = tls.root_path(options.data) if options.tls else None
    while not is_healthy(options.url, ca_file=ca_file):
        stopping.check()
        processes.tend()
        if time.monotonic() > deadline:
            raise KeepsFailingError(
                f"The server does not get healthy in {HEALTHY_SECONDS:.0f} s: see {options.data / 'log'}."
            )
        time.sleep(0.05)


def _wait_for_every_hsm(processes: Processes) -> None:
    """One active HSM in each cluster is healthy; an account as it is meant to be has all of its HSMs."""
    from hsmapp.models import Hsm
    from hsmapp.states import HsmState

    deadline = time.monotonic() + HEALTHY_SECONDS
    while Hsm.objects.filter(wanted=True).exclude(state=HsmState.ACTIVE).exists() and time.monotonic() < deadline:
        stopping.check()
        processes.tend()
        time.sleep(0.05)
