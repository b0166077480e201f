"""The two files that tell people how to get in: credentials.json and aws.env, readable by their owner only."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from console.serving import tls
from console.serving.options import Options
from hsmapp.durable import write_durably

# account, user_name, password, access_key_id, secret_access_key; empty: there is none
Person = Mapping[str, str]


def write_people(data: Path, people: Sequence[Person]) -> None:
    """Write credentials.json: a list with one object per person."""
    text = json.dumps([dict(person) for person in people], indent=2) + "\n"
    write_durably(data / "credentials.json", text.encode())


def read_people(data: Path) -> list[dict[str, str]]:
    """The people of credentials.json; none if it is not there any more."""
    try:
        people: list[dict[str, str]] = json.loads((data / "credentials.json").read_text())
    except FileNotFoundError:
        return []
    return people


def aws_user(people: Sequence[Person]) -> Person | None:
    """Whom aws.env signs as: the first who has an access key."""
    return next((person for person in people if person["access_key_id"]), None)


def write_aws_env(options: Options, people: Sequence[Person], region: str) -> bool:
    """Write aws.env, shell lines that point the AWS CLI and SDKs here; return whether there is anyone to sign as."""
    person = aws_user(people)
    if person is None:
        (options.data / "aws.env").unlink(missing_ok=True)
        return False
    values = {
        "AWS_ENDPOINT_URL": options.url,
        "AWS_ACCESS_KEY_ID": person["access_key_id"],
        "AWS_SECRET_ACCESS_KEY": person["secret_access_key"],
        "AWS_DEFAULT_REGION": region,  # for boto3 and version 1 of the AWS CLI
        "AWS_REGION": region,  # for all others: the SDKs for JavaScript, Java, Go, Rust and .NET, and the AWS CLI 2
    }
    if options.tls:
        root = str(tls.root_path(options.data))
        values |= {"AWS_CA_BUNDLE": root, "NODE_EXTRA_CA_CERTS": root}  # Node.js reads nothing of AWS's about this
    lines = [f"export {name}={shlex.quote(value)}" for name, value in values.items()]
    # A session token of other credentials in the same shell would be sent along and refused.
    lines.append("unset AWS_SESSION_TOKEN AWS_PROFILE")
    write_durably(options.data / "aws.env", ("\n".join(lines) + "\n").encode())
    return True
