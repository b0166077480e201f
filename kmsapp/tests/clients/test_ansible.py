"""Ansible's amazon.aws.kms_key: the play ansible/kms_key.yml, with what it says of itself."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from kmsapp import dispatch
from kmsapp.testing import Casemate
from kmsapp.tests.clients.installed import ANSIBLE, installed_ansible
from kmsapp.tests.clients.shell import environment_of
from kmsapp.tests.wire_world import ACCOUNT, IN_STORE, new_name

# Whatever kms_key is to do, it first reads all that a key has.
NEEDED = ("ListKeyPolicies", "UntagResource", "UpdateKeyDescription", "EnableKey", "DisableKey", "ScheduleKeyDeletion")
PLAY = ANSIBLE / "kms_key.yml"
RECAP = re.compile(r"ok=(\d+) +changed=(\d+) +unreachable=0 +failed=0 ")


def test_ansible(casemate: Casemate, tmp_path: Path) -> None:
    installed = installed_ansible()
    missing = [name for name in NEEDED if not dispatch.is_built(f"kms:{name}")]
    if missing:
        pytest.skip(f"amazon.aws.kms_key needs what is not built yet: {', '.join(missing)}")
    kms, grantee = casemate.boto3("kms"), f"arn:aws:iam::{ACCOUNT}:user/bob"
    key = kms.create_key(**IN_STORE)["KeyMetadata"]["Arn"]
    kms.create_grant(KeyId=key, GranteePrincipal=grantee, Operations=["Encrypt"])
    python = str(installed / "bin" / "python")
    given = {"key": key, "alias": f"ansible-{new_name()}", "grantee": grantee, "ansible_python_interpreter": python}
    options = ("--connection", "local", "--inventory", "localhost,")
    done = subprocess.run(
        [python, "-m", "ansible", "playbook", *options, "--extra-vars", json.dumps(given), str(PLAY)],
        env={
            **environment_of(casemate, tmp_path),
            "LC_ALL": "C.UTF-8",
            "ANSIBLE_COLLECTIONS_PATH": str(installed),
            "ANSIBLE_NOCOLOR": "1",
        },
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    recap = RECAP.search(done.stdout)
    assert done.returncode == 0 and recap, done.stdout + done.stderr
    collection = json.loads((installed / "ansible_collections" / "amazon" / "aws" / "MANIFEST.json").read_text())
    version = collection["collection_info"]["version"]
    print(f"{recap[1]} tasks and assertions, {recap[2]} changes, with amazon.aws {version}")
