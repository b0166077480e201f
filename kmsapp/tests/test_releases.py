"""R19: what earlier releases have encrypted still opens: their backups restored, migrated and served by this code."""

from __future__ import annotations

import base64
import json
import lzma
import shutil
from pathlib import Path
from typing import Any

import pytest

from kmsapp import service_models
from kmsapp.registry import OPERATIONS
from kmsapp.tests.keep_release import FOLDER
from kmsapp.tests.past_installation import manage, served

RELEASES = sorted(path.name for path in FOLDER.iterdir() if path.is_dir())


def ciphertexts(release: str) -> list[dict[str, Any]]:
    kept: list[dict[str, Any]] = json.loads((FOLDER / release / "ciphertexts.json").read_text())
    return kept


@pytest.fixture
def data(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """An empty data folder into which the release's backup was restored."""
    kept, data = FOLDER / request.param, tmp_path / "data"
    (data / "secret").mkdir(parents=True)
    data.chmod(0o700)
    shutil.copy(kept / "master.key", data / "secret")
    shutil.copy(kept / "credentials.json", data)
    (tmp_path / "backup").write_bytes(lzma.decompress((kept / "backup.xz").read_bytes()))
    done = manage(data, "restore", tmp_path / "backup")
    assert done.returncode == 0, done.stderr
    return data


@pytest.mark.parametrize(("data", "release"), [(name, name) for name in RELEASES], indirect=["data"], ids=RELEASES)
def test_what_a_release_has_encrypted_opens_with_this_code(data: Path, release: str) -> None:
    with served(data) as casemate:
        kms = casemate.boto3("kms")
        for kept in ciphertexts(release):
            blob, context = base64.b64decode(kept["ciphertext_blob"]), kept["encryption_context"]
            opened = kms.decrypt(CiphertextBlob=blob, EncryptionContext=context)
            assert opened["KeyId"] == kept["key"]
            assert opened["Plaintext"] == base64.b64decode(kept["plaintext"]), kept["operation"]
            with pytest.raises(kms.exceptions.InvalidCiphertextException):
                kms.decrypt(CiphertextBlob=blob, EncryptionContext={**context, "purpose": "another"})
    print(f"{len(ciphertexts(release))} ciphertexts of {release}, restored into empty tokens")


def test_the_newest_release_has_kept_one_ciphertext_of_each_operation_that_makes_some() -> None:
    kms = service_models.service("kms")
    makes = {
        name
        for name in kms.operation_names
        if f"kms:{name}" in OPERATIONS and "CiphertextBlob" in (kms.operation(name).output or kms.shape("Tag")).parts
    }
    assert {kept["operation"] for kept in ciphertexts(RELEASES[-1])} == makes
    assert len(makes) >= 4
