"""bin/serve --seed from outside: what it makes, what it refuses, and that a start that was killed is made good."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from console.serving.health import is_healthy
from kmsapp.testing import ROOT, START_SECONDS, Casemate, Server, clean_environment, free_port

KEY_ID = "99999999-1111-4222-8333-444444444444"
SEED = f"""
region: eu-west-1
accounts: [{{id: "000000000123"}}]
users:
  - name: machine
    console_access: false
    access_keys: []
  - name: dora
    password: Correct-Horse-1
    access_keys: [{{id: AKIAIOSFODNN7EXAMPLE, secret: wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY}}, {{}}]
    managed_policies: [AdministratorAccess]
clusters: [{{}}]
custom_key_stores: [{{name: Orders}}]
keys:
  - id: {KEY_ID}
    aliases: [alias/orders]
  - description: generated
"""
STOP_SECONDS = 20.0  # how long stopping takes is the matter of other tests
WRONG = SEED.replace("alias/orders", "orders").replace("Correct-Horse-1", "secret")


def refused(data: Path, *options: str) -> str:
    """What a start says that is refused."""
    done = subprocess.run(
        [sys.executable, "-m", "console.serving", "--data", data, "--port", str(free_port()), *options],
        cwd=ROOT,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2 and "Traceback" not in done.stderr, done
    return done.stderr


@pytest.fixture(scope="module")
def seed_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("seed") / "seed.yaml"
    path.write_text(SEED)
    return path


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, seed_file: Path) -> Iterator[Server]:
    """A server that was killed while it made the file, at two moments, and that made it in the end.

    The second start knows what to go on with by itself; the third is told the same file again.
    """
    data = tmp_path_factory.mktemp("seeded") / "data"
    first = Server(data, "--immediate", "--seed", str(seed_file))
    kill_while_seeding(first, seconds=0)
    second = Server(data, "--immediate", port=first.port)
    kill_while_seeding(second, seconds=1.5)
    assert not (data / "credentials.json").exists() and not is_healthy(second.url)
    first.start()
    yield first
    first.stop(within_seconds=STOP_SECONDS)


def kill_while_seeding(server: Server, *, seconds: float) -> None:
    server.launch()
    deadline = time.monotonic() + START_SECONDS
    while "Making what" not in server.output_text():
        assert time.monotonic() < deadline, server.output_text()
        time.sleep(0.02)
    time.sleep(seconds)
    server.stop(signal.SIGKILL, within_seconds=STOP_SECONDS)


def people(data: Path) -> list[dict[str, str]]:
    found: list[dict[str, str]] = json.loads((data / "credentials.json").read_text())
    return found


def test_what_the_file_says_is_there_once(server: Server) -> None:
    names = [
        (person["user_name"], bool(person["password"]), bool(person["access_key_id"])) for person in people(server.data)
    ]
    assert names == [("machine", False, False), ("dora", True, True), ("dora", True, True), ("<root>", True, True)]
    kms = Casemate(server).boto3("kms", "dora", region="eu-west-1")
    assert kms.describe_key(KeyId="alias/orders")["KeyMetadata"]["KeyId"] == KEY_ID
    keys = [kms.describe_key(KeyId=key["KeyId"])["KeyMetadata"] for key in kms.list_keys()["Keys"]]
    assert sorted(key["Description"] for key in keys) == ["", "generated"]
    assert {(key["KeyState"], key["AWSAccountId"]) for key in keys} == {("Enabled", "000000000123")}
    (store,) = kms.describe_custom_key_stores()["CustomKeyStores"]
    assert (store["CustomKeyStoreName"], store["ConnectionState"]) == ("Orders", "CONNECTED")
    assert not (server.data / "being-seeded.json").exists()


def test_aws_env_signs_as_the_first_who_has_an_access_key(server: Server) -> None:
    aws = shlex.quote(str(Path(sys.executable).with_name("aws")))
    script = f". {shlex.quote(str(server.data / 'aws.env'))}; {aws} sts get-caller-identity; {aws} kms list-aliases"
    done = subprocess.run(
        ["sh", "-c", script], env=clean_environment(), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "arn:aws:iam::000000000123:user/dora" in done.stdout and f'"{KEY_ID}"' in done.stdout
    assert "AWS_ACCESS_KEY_ID=AKIAIOSFODNN7EXAMPLE\n" in (server.data / "aws.env").read_text()


def test_a_password_that_was_chosen_is_kept_in_credentials_json_alone(server: Server) -> None:
    """There in clear, as its reader needs it; nowhere else, though the file that was given said it."""
    for secret in (b"Correct-Horse-1", b"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"):
        holders = {path.name for path in server.data.rglob("*") if path.is_file() and secret in path.read_bytes()}
        assert holders - {"aws.env"} == {"credentials.json"}
    for name in ("credentials.json", "seeded.json"):
        assert (server.data / name).stat().st_mode & 0o777 == 0o600


def test_the_same_file_once_more_keeps_the_state_and_another_one_is_refused(server: Server, seed_file: Path) -> None:
    casemate = Casemate(server)
    kms = casemate.boto3("kms", "dora", region="eu-west-1")
    kms.create_alias(AliasName="alias/later", TargetKeyId=KEY_ID)
    before = people(server.data)
    server.stop(within_seconds=STOP_SECONDS)
    other = seed_file.with_name("other.yaml")
    other.write_text(SEED + "\ngroups: [{name: later}]\n")
    assert refused(server.data, "--seed", str(other)) == (
        f"--seed {other} is for an empty data folder, and {server.data} is none. It was made from {seed_file}, as that "
        "was then. Leave --seed out to go on with what is there, or name another folder with --data.\n"
    )
    server.start()  # with the same file again
    assert people(server.data) == before
    assert {"alias/orders", "alias/later"} <= {alias["AliasName"] for alias in kms.list_aliases()["Aliases"]}


@pytest.mark.parametrize("is_there", [False, True], ids=["no folder", "an empty folder"])
def test_a_wrong_file_is_refused_and_leaves_nothing(tmp_path: Path, is_there: bool) -> None:
    path, data = tmp_path / "wrong.yaml", tmp_path / "data"
    path.write_text(WRONG)
    if is_there:
        data.mkdir()
    said = refused(data, "--seed", str(path)).splitlines()
    assert [line.partition(": ")[0] for line in said[:-1]] == [f"{path}:9:15", f"{path}:16:15"]
    assert said[-1] == "The seed file has 2 mistakes; nothing was made."
    assert (not is_there and not data.exists()) or os.listdir(data) == []


def test_a_seed_file_is_not_taken_beside_no_content(tmp_path: Path, seed_file: Path) -> None:
    said = refused(tmp_path / "data", "--seed", str(seed_file), "--empty")
    assert "not allowed with argument" in said
