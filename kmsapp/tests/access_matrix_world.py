"""The people and things of the access matrix on a running server, made over the wire, and how its cells are asked.

Account THEIRS gets a cluster, a key store and a key of its own, so that what is foreign is as real as what is not.
"""

from __future__ import annotations

import base64
import itertools
import json
import threading
import uuid
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from kmsapp.testing import DEMO_ACCOUNT, REGION, Casemate
from kmsapp.tests import access_matrix_rules as rules
from kmsapp.tests.access_matrix_documents import document
from kmsapp.tests.access_matrix_requests import DOCUMENT, INLINE, PASSWORD, REQUESTS, TRUST, Made, New, Of
from kmsapp.tests.access_matrix_rules import OURS, PEOPLE, RETIRES, THEIRS, THINGS, Cell, Person, Statement, Thing
from kmsapp.tests.access_matrix_wire import Answer, Credentials, Wire

ACCOUNTS = {OURS: DEMO_ACCOUNT, THEIRS: "444455556666"}
STORES = {OURS: "cks-1234567890abcdef0"}
# What can't be done over the wire. Epochs let every worker see it.
_PREPARE = """
from hsmapp import epochs
from kmsapp import demo
from kmsapp.models import User
User.objects.filter(user_name="matrix-staff").update(is_staff=True)
User.objects.filter(user_name="matrix-disabled").update(is_active=False)
epochs.raise_epoch(demo.ACCOUNT)
demo.ACCOUNT = demo.OTHER_ACCOUNT
print(demo.add_further_cluster().cluster_id)
"""
_KEY_ID_IN_BLOB = slice(9, 25)


class World:
    """Built once; then asked cell by cell."""

    def __init__(self, casemate: Casemate):
        self._casemate = casemate
        self._numbers = itertools.count()
        self._one_at_a_time = threading.RLock()
        roots = {account: casemate.person(f"root of {number}") for account, number in ACCOUNTS.items()}
        self._local = threading.local()  # a connection of each root user for each thread
        self._arns = {"*": "*"} | {
            f"account:{account}": f"arn:aws:iam::{number}:root" for account, number in ACCOUNTS.items()
        }
        self._credentials = {"anonymous": None} | {
            name: Credentials(root.access_key_id, root.secret_access_key)
            for name, root in (("root", roots[OURS]), ("other root", roots[THEIRS]))
        }
        self._credentials["wrong signature"] = Credentials(roots[OURS].access_key_id, "w" * 40)
        self._credentials["unknown access key"] = Credentials("AKIA" + "Q" * 16, "w" * 40)
        self._people()
        self._clusters()
        self._things = {thing.name: self._stuff(thing) for thing in THINGS.values()}

    def root(self, account: str, operation: str, params: dict[str, Any]) -> Answer:
        """What the account's root user is answered, who must be allowed."""
        if not hasattr(self._local, "roots"):
            self._local.roots = {one: self.wire_of(name) for one, name in ((OURS, "root"), (THEIRS, "other root"))}
        answer: Answer = self._local.roots[account].call(operation, params)
        assert not answer.code, (operation, params, answer)
        return answer

    # Making it

    def _people(self) -> None:
        """Users who have a password, an access key and, if the table says so, a policy."""
        for person in PEOPLE.values():
            if person.is_root or person.name in self._credentials:
                continue
            name = f"matrix-{person.name.replace(' ', '-')}"
            self._arns[person.name] = f"arn:aws:iam::{ACCOUNTS[person.account]}:user/{name}"
            self._user(person.account, name)
            if person.iam:
                policy = {"UserName": name, "PolicyName": "May", "PolicyDocument": _policy(person)}
                self.root(person.account, "iam:PutUserPolicy", policy)
            made = self.root(person.account, "iam:CreateAccessKey", {"UserName": name}).found
            self._credentials[person.name] = Credentials(made["AccessKeyId"], made["SecretAccessKey"])
            if person.name == "inactive access key":
                params = {"UserName": name, "AccessKeyId": made["AccessKeyId"], "Status": "Inactive"}
                self.root(person.account, "iam:UpdateAccessKey", params)

        # Whom grants are given, so that they change nothing of what the people above may do.
        self.root(OURS, "iam:CreateUser", {"UserName": "matrix-grantee"})
        self._arns["grantee"] = f"arn:aws:iam::{ACCOUNTS[OURS]}:user/matrix-grantee"

    def _user(self, account: str, name: str) -> None:
        self.root(account, "iam:CreateUser", {"UserName": name})
        self.root(account, "iam:CreateLoginProfile", {"UserName": name, "Password": PASSWORD})

    def _clusters(self) -> None:
        """A cluster and a connected key store for the other account."""
        cluster_id = self._casemate.manage("shell", "-c", _PREPARE).split()[-1]
        folder: Path = self._casemate.data / "demo"
        params = {
            "CustomKeyStoreName": "TheirStore",
            "CloudHsmClusterId": cluster_id,
            "TrustAnchorCertificate": (folder / f"{cluster_id}-customerCA.crt").read_text(),
            "KeyStorePassword": (folder / f"{cluster_id}-kmsuser-password").read_text().strip(),
        }
        STORES[THEIRS] = self.root(THEIRS, "kms:CreateCustomKeyStore", params).found["CustomKeyStoreId"]
        self.root(THEIRS, "kms:ConnectCustomKeyStore", {"CustomKeyStoreId": STORES[THEIRS]})
        self._casemate.wait_until(lambda: self._store(THEIRS)["ConnectionState"] == "CONNECTED", "their key store")

    def _store(self, account: str) -> Any:
        params = {"CustomKeyStoreId": STORES[account]}
        return self.root(account, "kms:DescribeCustomKeyStores", params).document["CustomKeyStores"][0]

    def _stuff(self, thing: Thing) -> dict[str, Any]:
        """Of every kind something, existing or not."""
        number = ACCOUNTS[thing.account]
        name = f"thing-{thing.name.replace(' ', '-')}"
        iam = f"arn:aws:iam::{number}"
        stuff: dict[str, Any] = {
            "user": name,
            "group": name,
            "role": name,
            "policy name": name,
            "policy": f"{iam}:policy/{name}",
            "user arn": f"{iam}:user/{name}",
            "assumed role": f"{iam}:role/assumed-{name}",
            "version": "v1",
            "access key": "AKIA" + "Z" * 16,
            "store": "cks-00000000000000000",
            "store name": "NoSuchStore",
            "cluster": "cluster-zzzzzzzzzzz",
            "grant": "0" * 64,
            "grantee": self._arns["grantee"],
            "retiring principal": self._arns[RETIRES[thing.account]],
            "some access key": self._credentials_of("key user").access_key_id,
            "alias": f"alias/{name}",
            "key policy": document((Statement(("*",), ("kms:*",)),), self._arns),
        }
        if not thing.exists:
            return stuff | self._missing_key(thing)
        self._identities(thing, stuff)
        store = self._store(thing.account)
        stuff |= {"store": STORES[thing.account], "store name": store["CustomKeyStoreName"]}
        return stuff | {"cluster": store["CloudHsmClusterId"]} | self._key(thing, stuff)

    def _identities(self, thing: Thing, stuff: dict[str, Any]) -> None:
        account, name = thing.account, stuff["user"]
        self._user(account, name)
        made = self.root(account, "iam:CreateAccessKey", {"UserName": name}).found
        stuff["access key"] = made["AccessKeyId"]
        self.root(account, "iam:CreateGroup", {"GroupName": name})
        self.root(account, "iam:CreateRole", {"RoleName": name, "AssumeRolePolicyDocument": TRUST})
        trust = document(thing.trust, self._arns, resource=False)
        assumed = {"RoleName": f"assumed-{name}", "AssumeRolePolicyDocument": trust}
        self.root(account, "iam:CreateRole", assumed)
        self.root(account, "iam:CreatePolicy", {"PolicyName": name, "PolicyDocument": DOCUMENT})
        for title in ("User", "Group", "Role"):
            inline = {f"{title}Name": name, "PolicyName": INLINE, "PolicyDocument": DOCUMENT}
            self.root(account, f"iam:Put{title}Policy", inline)

    def _key(self, thing: Thing, stuff: dict[str, Any]) -> dict[str, Any]:
        policy = document(thing.key_policy, self._arns)
        params = {"Origin": "AWS_CLOUDHSM", "CustomKeyStoreId": STORES[thing.account], "Policy": policy}
        key = self.root(thing.account, "kms:CreateKey", params).document["KeyMetadata"]
        encrypt = {"KeyId": key["Arn"], "Plaintext": b"x"}
        asked = {
            "KeyId": key["Arn"],
            "GranteePrincipal": stuff["grantee"],
            "RetiringPrincipal": stuff["retiring principal"],
            "Operations": ["Decrypt"],
        }
        return {
            "key": key["Arn"],
            "key id": key["KeyId"],
            "key policy": policy,
            "ciphertext": base64.b64decode(self.root(thing.account, "kms:Encrypt", encrypt).found["CiphertextBlob"]),
            "grant": self.root(thing.account, "kms:CreateGrant", asked).found["GrantId"],
        }

    def _missing_key(self, thing: Thing) -> dict[str, Any]:
        """A key id that no key has, and a ciphertext that names it."""
        key_id = uuid.uuid4()
        template = bytearray(200)
        template[:3] = (1, 1, 0)
        template[3:9] = int(ACCOUNTS[thing.account]).to_bytes(6, "big")
        template[_KEY_ID_IN_BLOB] = key_id.bytes
        arn = f"arn:aws:kms:{REGION}:{ACCOUNTS[thing.account]}:key/{key_id}"
        return {"key": arn, "key id": str(key_id), "ciphertext": bytes(template)}

    # Asking

    def _credentials_of(self, name: str) -> Credentials:
        found = self._credentials[name]
        assert found is not None
        return found

    def wire_of(self, name: str) -> Wire:
        return Wire(self._casemate.server.port, self._credentials[name])

    def ask(self, cell: Cell, wire: Wire) -> Answer:
        """Send the cell's request. wire: the caller's."""
        request, stuff = REQUESTS[cell.row], self._things[cell.thing.name if cell.thing else "shared"]
        may = rules.is_allowed(cell)
        made: dict[str, str] = {}
        names = {} if not may else {"number": str(next(self._numbers))}
        account = cell.thing.account if cell.thing else cell.person.account
        # What was made for one caller must not be taken away by another before that one's call.
        with self._one_at_a_time if may and (request.first or request.after) else nullcontext():
            for operation, params in request.first if may else ():
                made |= self.root(account, operation, _filled(params, stuff, names, made)).found
            answer: Answer = wire.call(rules.operation_of(cell.row), _filled(request.params, stuff, names, made))
            for operation, params in request.after if may and not answer.code else ():
                self.root(account, operation, _filled(params, stuff, names, made))
            return answer

    def without_ids(self, text: str, thing: Thing | None) -> str:
        """The text with everything that names the thing replaced."""
        stuff = self._things[thing.name] if thing else {}
        names = [value for kind, value in stuff.items() if isinstance(value, str) and kind not in _ALIKE]
        for value in sorted(names, key=len, reverse=True):
            text = text.replace(value, "<it>")
        return text


_ALIKE = {"grantee", "retiring principal", "some access key", "key policy", "version"}


def _policy(person: Person) -> str:
    statements = [
        {"Effect": effect, "Action": list(actions), "Resource": "*"}
        for effect, actions in (("Allow", person.iam), ("Deny", person.denied))
        if actions
    ]
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


def _filled(params: dict[str, Any], stuff: dict[str, Any], names: dict[str, str], made: dict[str, str]) -> Any:
    return {name: _value(value, stuff, names, made) for name, value in params.items()}


def _value(value: Any, stuff: dict[str, Any], names: dict[str, str], made: dict[str, str]) -> Any:
    match value:
        case Of(kind):
            return stuff[kind]
        case New(kind):
            if not names:
                return stuff[kind]
            return f"alias/new-{names['number']}" if kind == "alias" else f"new-{names['number']}"
        case Made(member, kind):
            return made[member] if made else stuff[kind]
    return value
