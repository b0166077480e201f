"""Keeps what a release has encrypted, for the tests of all later ones: `python -m kmsapp.tests.keep_release VERSION`.

Starts a server with the demo, has each operation that answers with a ciphertext make some, and writes the folder
data/releases/VERSION: a backup (compressed), the master key and access keys of that throw-away installation, and the
ciphertexts with what they must open to. It is done once for a release, before that is tagged, and never again.
"""

from __future__ import annotations

import base64
import json
import lzma
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kmsapp.testing import Casemate, Server

FOLDER = Path(__file__).resolve().parent / "data" / "releases"
STORE = "cks-1234567890abcdef0"
CONTEXTS: tuple[dict[str, str], ...] = ({}, {"purpose": "release", "Schlüssel": "密钥", "": "empty"})
PLAINTEXT = b"kept from one release to the next"


def main(version: str) -> None:
    with tempfile.TemporaryDirectory(prefix="casemate-release-") as name:
        server = Server(Path(name) / "data", "--immediate")
        server.start()
        try:
            casemate = Casemate(server)
            ciphertexts = list(_ciphertexts(casemate))
            casemate.manage("backup", str(Path(name) / "backup"))
        finally:
            server.stop()
        folder = FOLDER / version
        folder.mkdir(parents=True)
        (folder / "ciphertexts.json").write_text(json.dumps(ciphertexts, indent=1) + "\n")
        (folder / "backup.xz").write_bytes(lzma.compress((Path(name) / "backup").read_bytes(), preset=9))
        shutil.copy(server.data / "secret" / "master.key", folder)
        shutil.copy(server.data / "credentials.json", folder)


def _ciphertexts(casemate: Casemate) -> Iterator[dict[str, Any]]:
    """One of each operation, with and without an encryption context, under a key each."""
    kms = casemate.boto3("kms")
    for context in CONTEXTS:
        one, other = (
            kms.create_key(Origin="AWS_CLOUDHSM", CustomKeyStoreId=STORE)["KeyMetadata"]["Arn"] for _ in range(2)
        )
        under = {"EncryptionContext": context}
        sealed = kms.encrypt(KeyId=one, Plaintext=PLAINTEXT, **under)["CiphertextBlob"]
        moved = kms.re_encrypt(
            CiphertextBlob=sealed,
            SourceEncryptionContext=context,
            DestinationKeyId=other,
            DestinationEncryptionContext=context,
        )["CiphertextBlob"]
        data_key = kms.generate_data_key(KeyId=one, KeySpec="AES_256", **under)
        hidden = kms.generate_data_key_without_plaintext(KeyId=one, NumberOfBytes=64, **under)["CiphertextBlob"]
        for operation, key, blob, plaintext in (
            ("Encrypt", one, sealed, PLAINTEXT),
            ("ReEncrypt", other, moved, PLAINTEXT),
            ("GenerateDataKey", one, data_key["CiphertextBlob"], data_key["Plaintext"]),
            ("GenerateDataKeyWithoutPlaintext", one, hidden, kms.decrypt(CiphertextBlob=hidden, **under)["Plaintext"]),
        ):
            yield {
                "operation": operation,
                "key": key,
                "encryption_context": context,
                "plaintext": base64.b64encode(plaintext).decode(),
                "ciphertext_blob": base64.b64encode(blob).decode(),
            }


if __name__ == "__main__":
    main(sys.argv[1])
