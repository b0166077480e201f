"""What bin/serve prints: a line for each longer step, and one screen when the server answers."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from console.serving import tls
from console.serving.credentials import Person, aws_user
from console.serving.options import Options


def say(line: str) -> None:
    print(line, flush=True)


def show(options: Options, people: Sequence[Person], seconds: float, *, is_demo: bool) -> None:
    """Print address, sign-in and AWS CLI lines. Passwords are for a terminal; a log gets the file's name."""
    say(screen(options, people, seconds, passwords=sys.stdout.isatty(), is_demo=is_demo))


def screen(options: Options, people: Sequence[Person], seconds: float, *, passwords: bool, is_demo: bool) -> str:
    lines = [f"Casemate answers at {options.url} (after {seconds:.1f} s). Ctrl-C stops it.", ""]
    if options.tls:
        lines += _trust(options)
    lines += _sign_in(options, people, passwords=passwords)
    if aws_user(people) is not None:
        lines += _aws_cli(options, is_demo=is_demo)
    lines.append(f"Data: {options.data}   Logs: {options.data / 'log'}")
    return "\n".join(lines)


def _trust(options: Options) -> list[str]:
    return [
        "Its certificate is from a TLS root of this data folder's own, which clients must be told to trust:",
        f"  {tls.root_path(options.data)}",
        f"  SHA-256 {tls.fingerprint(options.data)}",
        "  browser: import it as an authority for websites    curl: --cacert <file>    AWS clients: aws.env does it",
        "",
    ]


def _sign_in(options: Options, people: Sequence[Person], *, passwords: bool) -> list[str]:
    if not people:
        return [f"There is no {options.data / 'credentials.json'}: nobody's password is known here.", ""]
    rows = [
        f"  {person['account']}  {person['user_name']:<8}  {person['password'] if passwords else ''}".rstrip()
        for person in people
    ]
    where = [] if passwords else [f"  Passwords: {options.data / 'credentials.json'}"]
    return ["Sign in with account ID and user name, or as an account's root user:", *rows, *where, ""]


def _aws_cli(options: Options, *, is_demo: bool) -> list[str]:
    of_demo = [
        "  aws kms describe-custom-key-stores --custom-key-store-id cks-1234567890abcdef0",
        "  aws cloudhsmv2 describe-clusters",
        "  aws kms create-key --origin AWS_CLOUDHSM --custom-key-store-id cks-1234567890abcdef0",
    ]
    of_any = ["  aws kms describe-custom-key-stores", "  aws cloudhsmv2 describe-clusters", "  aws kms list-aliases"]
    return [
        "In another terminal, with the AWS CLI:",
        f"  . {options.data / 'aws.env'}",
        *(of_demo if is_demo else of_any),
        "",
    ]
