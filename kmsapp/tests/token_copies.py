"""Copies of a running server's tokens, opened with what `manage.py hsm token-env` prints.

Copies, because an HSM process is the only one that may open its token.
"""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hsmapp.tests import token_files
from kmsapp.testing import Casemate, clean_environment
from kmsapp.tests import token_client

HSMS = ("hsm-abcdefghijk", "hsm-zyxwvutsrqp")


@dataclass(frozen=True)
class TokenCopy:
    """A token folder of the test's own."""

    module: str
    label: str
    configuration: Path
    folder: Path
    pin: str = field(repr=False)

    def ask(self, *messages: dict[str, str]) -> dict[str, Any]:
        """Keys in the token by label, and the messages as the token opens them."""
        answer = self.look(*messages)
        return {"keys": {key["label"]: key for key in answer["keys"]}, "opened": answer["opened"]}

    def look(self, *messages: dict[str, str]) -> dict[str, Any]:
        """All keys in the token, and the messages as the token opens them: what token_client.py writes."""
        return self.run(token_client.__file__, open=messages)

    def run(self, program: str, **request: Any) -> dict[str, Any]:
        """What a program of somebody else's makes of this token: it is told where the token is, and its PIN."""
        told = {
            "module": self.module,
            "label": self.label,
            "configuration": str(self.configuration),
            "pin": self.pin,
            **request,
        }
        done = subprocess.run(
            [sys.executable, program],
            input=json.dumps(told),
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    def pkcs11_tool(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        """OpenSC's client. It takes a PIN from its environment."""
        tool = shutil.which("pkcs11-tool")
        assert tool is not None, "pkcs11-tool is missing: bin/test says how to install it"
        return subprocess.run(
            [tool, "--module", self.module, "--token-label", self.label, "--login", "--pin", "env:PIN", *arguments],
            env={**clean_environment(), "SOFTHSM2_CONF": str(self.configuration), "PIN": self.pin},
            capture_output=True,
            timeout=60,
            check=False,
        )


def token_environment(casemate: Casemate, hsm_id: str) -> dict[str, str]:
    """The shell lines of token-env, read as a shell reads them."""
    words = shlex.split(casemate.manage("hsm", "token-env", hsm_id))
    return dict(word.split("=", 1) for word in words)


def copy_token(casemate: Casemate, hsm_id: str, folder: Path) -> TokenCopy:
    shown = token_environment(casemate, hsm_id)
    tokens = folder / hsm_id
    shutil.copytree(shown["TOKEN_FOLDER"], tokens)
    configuration = folder / f"{hsm_id}.conf"
    text = Path(shown["SOFTHSM2_CONF"]).read_text()
    assert shown["TOKEN_FOLDER"] in text
    configuration.write_text(text.replace(shown["TOKEN_FOLDER"], str(tokens)))
    return TokenCopy(shown["PKCS11_MODULE"], shown["TOKEN_LABEL"], configuration, tokens, shown["TOKEN_PIN"])


def key_object_count(casemate: Casemate, hsm_id: str) -> int:
    """Persistent objects in the token of an HSM: SoftHSM keeps each in a file of its own."""
    return len(list((casemate.data / "hsm" / hsm_id / "tokens").rglob("*.object")))


def stored_keys(folder: Path) -> list[dict[int, bytes]]:
    """The attributes of each secret key in a token folder, as SoftHSM has written them."""
    contents = [path.read_bytes() for path in token_files.objects(folder)]
    stored = [{name: content[where] for name, where in token_files.spans(content).items()} for content in contents]
    return [key for key in stored if int.from_bytes(key[token_files.CKA_CLASS], "big") == token_files.CKO_SECRET_KEY]
