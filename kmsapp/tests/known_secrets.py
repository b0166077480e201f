"""The secrets of a running server, which an operator can read with the master key file, and a search for them."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import NamedTuple

from kmsapp.testing import Casemate
from kmsapp.tests.token_copies import HSMS, token_environment

# What no command prints: an operator with the master key file could read them so.
_SEALED = """
from hsmapp import credentials, hsms
from hsmapp.models import ClusterCredential, Hsm
for hsm in Hsm.objects.all():
    print("SO PIN of " + hsm.hsm_id, hsms.so_pin(hsm))
for row in ClusterCredential.objects.select_related("cluster"):
    print("password of " + row.user_name + " in " + row.cluster.cluster_id, credentials.current_password(row))
"""


class Found(NamedTuple):
    secret: str
    spelling: str
    place: str


def spellings(secret: bytes) -> dict[str, bytes]:
    """How the secret's bytes may look elsewhere. Base64 depends on where in a longer text they begin."""
    forms = {
        "raw": secret,
        "hex": secret.hex().encode(),
        "HEX": secret.hex().upper().encode(),
        "repr": repr(secret)[2:-1].encode(),
        "list of numbers": ", ".join(map(str, secret)).encode(),
    }
    for shift in range(3):
        encoded = base64.b64encode(bytes(shift) + secret)
        # The first and last characters also hold bits of the neighbours.
        inner = encoded[4 if shift else 0 : len(encoded) // 4 * 4 - 4]
        forms[f"base64, shifted by {shift}"] = inner
        forms[f"base64url, shifted by {shift}"] = inner.translate(bytes.maketrans(b"+/", b"-_"))
    return forms


def search(planted: dict[str, bytes], places: Iterator[tuple[str, bytes]]) -> tuple[list[Found], int, int]:
    """What was found; how many places and bytes were searched."""
    wanted = [
        (name, spelling, form) for name, secret in planted.items() for spelling, form in spellings(secret).items()
    ]
    found, count, size = [], 0, 0
    for place, content in places:
        count, size = count + 1, size + len(content)
        found += [Found(name, spelling, place) for name, spelling, form in wanted if form in content]
    return found, count, size


def installed_secrets(casemate: Casemate) -> dict[str, bytes]:
    """By name: passwords, secret access keys, PINs, the master key."""
    known: dict[str, bytes] = {}
    for person in casemate.people.values():
        known[f"password of {person.user_name}"] = person.password.encode()
        known[f"secret access key of {person.user_name}"] = person.secret_access_key.encode()
    for hsm_id in HSMS:
        known[f"PIN of {hsm_id}"] = token_environment(casemate, hsm_id)["TOKEN_PIN"].encode()
    for line in casemate.manage("shell", "--no-imports", "-c", _SEALED).splitlines():
        name, _, secret = line.rpartition(" ")
        known[name] = secret.encode()
    known["master key"] = (casemate.data / "secret" / "master.key").read_bytes()
    assert len(known) >= 15, known.keys()
    return known
