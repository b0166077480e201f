"""What is installed: nothing importable but `casemate`, and a stranger's project that tests its code with it."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import casemate
from casemate.server import clean_environment

ROOT = Path(__file__).resolve().parents[2]

# A project whose own modules have the names of the server's packages.
STRANGER = {
    "console.py": "raise ImportError('the tests have found the wrong console')\n",
    "hsmapp.py": "",
    "kmsapp.py": """
import boto3

def seal(text, key):
    return boto3.client("kms").encrypt(KeyId=key, Plaintext=text, EncryptionContext={"for": "tests"})["CiphertextBlob"]

def open_(sealed):
    return boto3.client("kms").decrypt(CiphertextBlob=sealed, EncryptionContext={"for": "tests"})["Plaintext"]
""",
    "test_vault.py": """
import boto3, pytest, kmsapp

def test_what_is_sealed_opens(casemate):
    key = casemate.create_key(Description="of a test")
    boto3.client("kms").create_alias(AliasName="alias/vault", TargetKeyId=key)
    assert kmsapp.open_(kmsapp.seal(b"hello", "alias/vault")) == b"hello"

def test_each_test_begins_with_what_there_was_at_the_start(casemate):
    kms = boto3.client("kms")
    assert [key["KeyId"] for key in kms.list_keys()["Keys"]] == ["1234abcd-12ab-34cd-56ef-1234567890ab"]
    with pytest.raises(kms.exceptions.NotFoundException, match="alias/vault is not found"):
        kms.describe_key(KeyId="alias/vault")

def test_whom_nothing_is_allowed(casemate):
    kms = casemate.client("kms", "mallory")
    with pytest.raises(kms.exceptions.ClientError, match="not authorized to perform: kms:ListKeys"):
        kms.list_keys()
""",
}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, unpacked: a folder of site-packages."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (wheel,) = folder.glob("*.whl")
    target = folder / "site-packages"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(target)
    return target


def test_nothing_else_is_importable_where_it_is_installed(installed: Path) -> None:
    assert sorted(path.name for path in installed.iterdir()) == [
        "casemate",
        f"casemate-{casemate.__version__}.dist-info",
    ]
    assert {path.name for path in (installed / "casemate" / "site").iterdir()} == {
        *("console", "hsmapp", "kmsapp", "templates", "manage.py")
    }
    assert not [
        path
        for path in installed.rglob("*")
        if "tests" in path.parts or (path.name in {"conftest.py", "testing.py"} and "site" in path.parts)
    ]


def test_the_wheel_takes_what_is_tested_and_the_version_is_said_once() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pinned = re.findall(r"^([\w-]+)==([\w.]+)", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    assert pinned
    assert [re.match(r"([\w-]+)>=([\w.]+)", line).groups() for line in project["dependencies"]] == pinned  # type: ignore[union-attr]
    assert project["version"] == casemate.__version__


def test_a_strangers_project_tests_its_code(installed: Path, tmp_path: Path) -> None:
    for name, text in STRANGER.items():
        (tmp_path / name).write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:django", "--rootdir=."],
        cwd=tmp_path,
        env={
            **clean_environment(),
            "PYTHONPATH": str(installed),
            "CASEMATE_CACHE": str(tmp_path / "cache"),
            "AWS_PROFILE": "of-somebody",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 passed" in done.stdout


def test_the_kit_needs_the_standard_library_only() -> None:
    needed = {
        name.partition(".")[0]
        for path in (ROOT / "casemate").glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    # hsmapp.parent, which is pure, from the folder of the server's packages; boto3 for those who ask for a client.
    assert needed - sys.stdlib_module_names == {"casemate", "pytest", "boto3", "hsmapp"}


def test_the_command(installed: Path, tmp_path: Path) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "casemate", *arguments],
            cwd=tmp_path,
            env={**clean_environment(), "PYTHONPATH": str(installed), "COLUMNS": "100"},
            capture_output=True,
            text=True,
            check=False,
        )

    assert run("--version").stdout == f"casemate {casemate.__version__}\n"
    assert (run().returncode, run("sreve").returncode) == (0, 2)
    assert "--resettable" in run("serve", "--help").stdout
    assert "reconcile" in run("manage", "hsm", "--help").stdout
    assert os.listdir(tmp_path) == []
