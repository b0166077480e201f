"""C6: plaintexts, data keys, PINs, passwords and secret keys are in no file, log, page, environment or command line.

Canaries are used through every way in, successfully and not; then everything the server has written or shows is
searched for them, raw and in the spellings that a leak would have. A marker that is allowed to be kept proves that the
search finds what is there.
"""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kmsapp.testing import Casemate, command_line
from kmsapp.tests.browser_client import BrowserClient
from kmsapp.tests.known_secrets import Found, installed_secrets, search, spellings
from kmsapp.tests.refusals import refusal
from kmsapp.tests.signed_http import post

DEMO_KEY = "1234abcd-12ab-34cd-56ef-1234567890ab"
# Where secrets belong, readable by their owner only; and what is not the server's own writing.
PLACES_OF_SECRETS = {"credentials.json", "aws.env", "secret/master.key"}
NOT_WRITTEN_HERE = ("static", "softhsm")


def files(casemate: Casemate) -> Iterator[tuple[str, bytes]]:
    """Database with its -wal, logs, audit files, tokens, run folder, and what the server prints."""
    for path in sorted(casemate.data.rglob("*")):
        name = str(path.relative_to(casemate.data))
        if path.is_file() and name not in PLACES_OF_SECRETS and not name.startswith(NOT_WRITTEN_HERE):
            yield name, path.read_bytes()
    yield "screen", casemate.server.output.read_bytes()


def processes(casemate: Casemate) -> Iterator[tuple[str, bytes]]:
    for pid in casemate.server.pids():
        for name in ("environ", "cmdline"):
            yield f"{name} of {' '.join(command_line(pid))[-60:]}", Path(f"/proc/{pid}/{name}").read_bytes()


@pytest.fixture(scope="module")
def planted(casemate: Casemate) -> dict[str, bytes]:
    """Secrets by name. Those of the installation are there already; the others are made here."""
    return installed_secrets(casemate)


def use(casemate: Casemate, planted: dict[str, bytes], tmp_path: Path) -> Iterator[tuple[str, bytes]]:
    """Put canaries through every way in; give every page and refusal that comes back."""
    kms = casemate.boto3("kms", parameter_validation=False)

    def canary(name: str) -> bytes:
        planted[name] = secrets.token_bytes(32)
        return planted[name]

    blob = kms.encrypt(KeyId=DEMO_KEY, Plaintext=canary("plaintext"))["CiphertextBlob"]
    assert kms.decrypt(CiphertextBlob=blob)["Plaintext"] == planted["plaintext"]
    planted["data key"] = kms.generate_data_key(KeyId=DEMO_KEY, KeySpec="AES_256")["Plaintext"]
    planted["data key of 64 bytes"] = kms.generate_data_key(KeyId=DEMO_KEY, NumberOfBytes=64)["Plaintext"]
    file = tmp_path / "message"
    file.write_bytes(canary("plaintext from a file"))
    assert casemate.cli("kms", "encrypt", "--key-id", DEMO_KEY, "--plaintext", f"fileb://{file}").returncode == 0
    refused: dict[str, dict[str, Any]] = {
        "plaintext for no key": {"KeyId": "alias/none"},
        "plaintext under another algorithm": {"KeyId": DEMO_KEY, "EncryptionAlgorithm": "RSAES_OAEP_SHA_1"},
        "plaintext with a bad grant token": {"KeyId": DEMO_KEY, "GrantTokens": ["x"]},
        "plaintext of a dry run": {"KeyId": DEMO_KEY, "DryRun": True},
        "plaintext for another account's key": {"KeyId": f"arn:aws:kms:us-west-2:444455556666:key/{DEMO_KEY}"},
    }
    for name, params in refused.items():
        yield name, repr(refusal(kms.encrypt, Plaintext=canary(name), **params)).encode()
    too_long = canary("plaintext too long") * 200
    yield "too long", repr(refusal(kms.encrypt, KeyId=DEMO_KEY, Plaintext=too_long)).encode()
    yield "bad JSON", post(casemate, b'{"Plaintext": "' + base64.b64encode(canary("plaintext in bad JSON"))).body
    in_text = {"KeyId": DEMO_KEY, "Plaintext": {"not": "a blob", "it": canary("plaintext of a wrong type").hex()}}
    yield "wrong type", post(casemate, json.dumps(in_text).encode(), operation="Encrypt").body
    yield "forged", repr(refusal(kms.decrypt, CiphertextBlob=blob[:-1] + bytes([blob[-1] ^ 1]))).encode()
    yield from use_console(casemate, planted)


def use_console(casemate: Casemate, planted: dict[str, bytes]) -> Iterator[tuple[str, bytes]]:
    browser = BrowserClient(casemate)
    wrong = secrets.token_urlsafe(24)
    planted["wrong password"] = wrong.encode()
    for user_name in ("alice", "nobody"):
        form = {"account": casemate.account, "user_name": user_name, "password": wrong}
        page = browser.post("/sign-in/", "", **form)
        assert page.status == 422
        yield f"sign-in as {user_name} refused", page.text.encode()
    for user_name in ("alice", "carol"):
        browser.sign_in(user_name)
    browser.sign_in("alice")
    paths = ["/keys/", f"/keys/{DEMO_KEY}/", "/key-stores/", "/clusters/", "/clusters/cluster-1a23b4cdefg/", "/admin/"]
    admin_lists = ["user", "accesskey", "customkeystore", "auditevent", "kmskey"]
    paths += [f"/admin/kmsapp/{name}/" for name in admin_lists]
    paths += [f"/admin/hsmapp/{name}/" for name in ("hsm", "maskedkey", "cluster")]
    for path in [*paths, "/keys/no-such-key/", "/no-such-page/"]:
        page = browser.get(path)
        assert page.status < 500
        yield path, page.text.encode()


def test_no_secret_is_anywhere_it_does_not_belong(
    casemate: Casemate, planted: dict[str, bytes], tmp_path: Path
) -> None:
    shown = list(use(casemate, planted, tmp_path))
    in_pages, pages, _ = search(planted, iter(shown))
    in_files, file_count, size = search(planted, files(casemate))
    in_processes, process_places, _ = search(planted, processes(casemate))
    spelled = sum(len(spellings(secret)) for secret in planted.values())
    print(
        f"C6: {len(planted)} secrets in {spelled} spellings: {len(in_files)} hits in {file_count} files "
        f"({size / 1e6:.1f} MB), {len(in_processes)} in {process_places} environments and command lines, "
        f"{len(in_pages)} in {pages} pages and refusals"
    )
    assert (in_files, in_processes, in_pages) == ([], [], [])


def test_the_search_finds_what_is_there(casemate: Casemate) -> None:
    """An encryption context and a description are kept in clear, as AWS does: the search must find them."""
    marker = secrets.token_hex(24).encode()
    kms = casemate.boto3("kms")
    for number, form in enumerate(spellings(marker).values()):
        kms.encrypt(KeyId=DEMO_KEY, Plaintext=b"x", EncryptionContext={f"form {number}": form.decode()})
    found, _, _ = search({"marker": marker}, files(casemate))
    assert {hit.spelling for hit in found if hit.place.startswith("audit/")} == set(spellings(marker))
    place = ("credentials.json", (casemate.data / "credentials.json").read_bytes())
    password = casemate.person("alice").password.encode()
    assert Found("password", "raw", "credentials.json") in search({"password": password}, iter([place]))[0]


def test_nobody_else_can_read_what_the_server_writes(casemate: Casemate) -> None:
    assert casemate.data.stat().st_mode & 0o077 == 0, "the folder itself keeps others out"
    for name in (*PLACES_OF_SECRETS, "casemate.sqlite3", "casemate.sqlite3-wal"):
        assert (casemate.data / name).stat().st_mode & 0o077 == 0, name


def test_no_process_of_the_server_leaves_a_core_dump(casemate: Casemate) -> None:
    limits = [Path(f"/proc/{pid}/limits").read_text() for pid in casemate.server.pids()]
    assert len(limits) >= 6
    for text in limits:
        (line,) = (line for line in text.splitlines() if line.startswith("Max core file size"))
        assert line.split()[4] == "0", line
