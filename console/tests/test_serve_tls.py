"""`bin/serve --tls` with the clients that people use: the AWS CLI, boto3 and Chromium."""

from __future__ import annotations

import http.client
import json
import os
import shlex
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from playwright.sync_api import Browser, Error, expect

from console.serving import tls
from console.serving.health import is_healthy
from console.serving.options import parse
from console.tests.test_serve import assert_refused, serve
from hsmapp import clock
from hsmapp.testing import wait_until
from kmsapp.testing import Casemate, Server, clean_environment, served_copy


@pytest.fixture(scope="module")
def server(stopped_server: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with served_copy(stopped_server, tmp_path_factory.mktemp("tls") / "data", "--tls", "--immediate") as casemate:
        yield casemate.server


def shown_certificate(server: Server) -> x509.Certificate:
    """The certificate that the server shows to a client that trusts its root and nothing else."""
    context = ssl.create_default_context(cafile=str(server.ca_file))
    with (
        socket.create_connection(("127.0.0.1", server.port), timeout=5) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as secure,
    ):
        return x509.load_der_x509_certificate(secure.getpeercert(binary_form=True) or b"")


@pytest.mark.alone
def test_a_second_start_with_tls_takes_under_six_seconds_and_keeps_root_and_certificate(server: Server) -> None:
    before = shown_certificate(server)
    root = tls.root_path(server.data).read_bytes()
    # The best of three: what is promised is for a machine that does not run something else at the same moment.
    starts: list[float] = []
    while not starts or (min(starts) >= 6 and len(starts) < 3):
        server.stop()
        starts.append(server.start())
        print(f"started again in {starts[-1]:.2f} s")
    assert min(starts) < 6
    assert tls.root_path(server.data).read_bytes() == root
    assert shown_certificate(server) == before


def test_aws_env_brings_the_aws_cli_to_https_and_has_it_trust_the_root(server: Server) -> None:
    aws = Path(sys.executable).with_name("aws")
    script = f". {shlex.quote(str(server.data / 'aws.env'))}; {shlex.quote(str(aws))} sts get-caller-identity"
    answers = {}
    for name, shell in {"trusted": script, "not trusted": script.replace("; ", "; unset AWS_CA_BUNDLE; ")}.items():
        answers[name] = subprocess.run(
            ["sh", "-c", shell], env=clean_environment(), capture_output=True, text=True, timeout=60, check=False
        )
    assert json.loads(answers["trusted"].stdout)["Arn"].endswith(":user/alice"), answers["trusted"].stderr
    assert "export AWS_ENDPOINT_URL=https://" in (server.data / "aws.env").read_text()
    assert answers["not trusted"].returncode != 0
    assert "certificate verify failed" in answers["not trusted"].stderr


def test_boto3_encrypts_and_decrypts_over_tls(server: Server) -> None:
    kms = Casemate(server).boto3("kms", "bob")
    sealed = kms.encrypt(KeyId="alias/ExampleKey", Plaintext=b"on the way")["CiphertextBlob"]
    assert kms.decrypt(CiphertextBlob=sealed)["Plaintext"] == b"on the way"


def test_a_browser_signs_in_with_cookies_that_never_travel_in_clear(server: Server, browser: Browser) -> None:
    bob = Casemate(server).person("bob")
    stranger = browser.new_context()
    with pytest.raises(Error, match="ERR_CERT_AUTHORITY_INVALID"):
        stranger.new_page().goto(server.url)
    stranger.close()
    # Chromium has no option to trust one more root for one run; that the chain holds is what the other tests show.
    context = browser.new_context(ignore_https_errors=True)
    try:
        page = context.new_page()
        page.goto(f"{server.url}/keys/")
        page.get_by_label("Account ID").fill(bob.account)
        page.get_by_label("User name").fill(bob.user_name)
        page.get_by_label("Password").fill(bob.password)
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("heading", name="Customer managed keys").first).to_be_visible()
        page.request.post(
            f"{server.url}/theme/",
            form={"theme": "dark"},
            headers={"X-CSRFToken": csrf_token(context.cookies()), "Referer": server.url},
        )
        cookies = context.cookies()
        names = {"casemate_session", "csrftoken", "casemate_theme", "casemate_browser"}
        assert {cookie["name"] for cookie in cookies} == {f"__Host-{name}" for name in names}
        assert all(cookie["httpOnly"] and cookie["sameSite"] == "Lax" for cookie in cookies)
        assert [cookie["name"] for cookie in cookies if not cookie["secure"]] == []
    finally:
        context.close()


def csrf_token(cookies: object) -> str:
    assert isinstance(cookies, list)
    return next(str(cookie["value"]) for cookie in cookies if cookie["name"] == "__Host-csrftoken")


def test_only_other_names_than_those_of_this_machine_alone_are_held_to_https(server: Server) -> None:
    context = ssl.create_default_context(cafile=str(server.ca_file))
    for name in ("localhost", "127.0.0.1"):
        connection = http.client.HTTPSConnection(name, server.port, context=context, timeout=5)
        connection.request("GET", "/healthz")
        assert connection.getresponse().headers["Strict-Transport-Security"] is None
        connection.close()


@pytest.mark.alone
def test_a_certificate_near_its_end_is_replaced_while_the_server_runs(server: Server) -> None:
    options = parse(["--tls", "--data", str(server.data)])
    before, workers = shown_certificate(server), set(server.web_workers())
    old_enough = clock.now() - tls.SERVER_LIFE + tls.RENEW_BEFORE / 2
    _, key_path = tls.server_paths(server.data)
    key_path.unlink()  # so that prepare makes one now, as it would have in the past
    assert tls.prepare(options, now=old_enough)
    asked, unanswered, serials = 0, 0, set[int]()

    def is_answered() -> bool:
        try:
            shown = shown_certificate(server)
        except OSError:
            return False
        if shown.not_valid_after_utc > clock.now() + tls.SERVER_LIFE / 2:
            serials.add(shown.serial_number)
        return is_healthy(server.url, ca_file=server.ca_file)

    def is_replaced() -> bool:
        nonlocal asked, unanswered
        asked += 1
        # A request that waits in a worker's queue when that worker ends is lost; the next one finds another worker.
        if not is_answered():
            unanswered += 1
            assert is_answered()
        # bin/serve may look at any moment, also while the old certificate is being made: then it looks once more.
        return bool(serials - {before.serial_number}) and not workers & set(server.web_workers())

    wait_until(is_replaced, "web workers with a new certificate")
    print(f"{asked} requests while the web workers were replaced, {unanswered} of them asked twice")


def test_an_empty_installation_is_served_to_others_by_tls(tmp_path: Path) -> None:
    server = Server(tmp_path / "data", "--tls", "--host", "0.0.0.0", "--empty")  # noqa: S104
    server.start()
    try:
        held = shown_certificate(server).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        names = {str(name.value) for name in held}
        assert {"localhost", "127.0.0.1", "::1", socket.gethostname().lower()} <= names
        context = ssl.create_default_context(cafile=str(server.ca_file))
        connection = http.client.HTTPSConnection("127.0.0.1", server.port, context=context, timeout=5)
        connection.request("GET", "/healthz", headers={"Host": "casemate.example"})
        assert connection.getresponse().headers["Strict-Transport-Security"] == "max-age=86400"
        connection.close()
        assert str(tls.root_path(server.data)) in server.output_text()
        assert tls.fingerprint(server.data) in server.output_text()
    finally:
        server.stop()


def test_a_root_whose_key_is_another_one_is_refused_and_left_alone(tmp_path: Path) -> None:
    options = parse(["--tls", "--data", str(tmp_path)])
    tls.prepare(options, now=clock.now())
    tls.root_key_path(tmp_path).write_bytes(tls.server_paths(tmp_path)[1].read_bytes())
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert_refused(serve(tmp_path, "--tls"), "The TLS root is damaged")
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_keys_are_for_their_owner_only_and_the_root_signs_nothing_but_servers(tmp_path: Path) -> None:
    tls.prepare(parse(["--tls", "--data", str(tmp_path)]), now=clock.now())
    for path in tmp_path.rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path
    root = x509.load_pem_x509_certificate(tls.root_path(tmp_path).read_bytes())
    basic = root.extensions.get_extension_for_class(x509.BasicConstraints).value
    assert (basic.ca, basic.path_length) == (True, 0)
    assert b"PRIVATE" not in tls.root_path(tmp_path).read_bytes()


WHEN_RENEWED = {
    "the same day": ([], 0, False),
    "a month before its end": ([], (tls.SERVER_LIFE - tls.RENEW_BEFORE).days + 1, True),
    "another name": (["--host", "localhost.localdomain", "--insecure"], 0, True),
    "a clock before its time": ([], -30, True),
}


@pytest.mark.parametrize(("arguments", "days", "is_made"), WHEN_RENEWED.values(), ids=WHEN_RENEWED)
def test_when_a_certificate_is_made_anew(tmp_path: Path, arguments: list[str], days: int, is_made: bool) -> None:
    first = parse(["--tls", "--data", str(tmp_path)])
    now = clock.now()
    assert tls.prepare(first, now=now)
    root = tls.root_path(tmp_path).read_bytes()
    later = first if not arguments else parse(["--data", str(tmp_path), *arguments])
    assert tls.prepare(later, now=now + days * tls.RENEW_BEFORE / tls.RENEW_BEFORE.days) is is_made
    assert not tls.prepare(later, now=now + days * tls.RENEW_BEFORE / tls.RENEW_BEFORE.days)
    assert tls.root_path(tmp_path).read_bytes() == root


def test_a_root_that_ends_is_replaced_before_it_does(tmp_path: Path) -> None:
    options = parse(["--tls", "--data", str(tmp_path)])
    now = clock.now()
    tls.prepare(options, now=now)
    key = tls.root_key_path(tmp_path).read_bytes()
    assert tls.prepare(options, now=now + tls.ROOT_LIFE - tls.RENEW_BEFORE / 2)
    assert tls.root_key_path(tmp_path).read_bytes() != key


def test_a_start_that_was_killed_between_key_and_certificate_is_made_good(tmp_path: Path) -> None:
    options = parse(["--tls", "--data", str(tmp_path)])
    tls.prepare(options, now=clock.now())
    other = tls.make_root(clock.now()).key
    tls.server_paths(tmp_path)[1].write_bytes(
        other.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    assert tls.prepare(options, now=clock.now())
    tls.root_path(tmp_path).unlink()  # the root's key is written before its certificate
    assert tls.prepare(options, now=clock.now())
    assert os.listdir(tmp_path / "tls")
