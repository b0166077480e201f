"""The people and things of the addresses' access matrix: rows in the test's database, two accounts, no HSM."""

from __future__ import annotations

import json
import uuid
from dataclasses import asdict
from typing import Any

import pytest

from console import steps
from console.drafts import Choices
from console.models import KeyDraft
from console.testing import REGION, key_store, kms_key, new_account, person
from hsmapp import clock, sealing
from kmsapp.iam import credentials
from kmsapp.models import Account, CustomKeyStore, Group, InlinePolicy, KmsKey, ManagedPolicy, Role, User
from kmsapp.tests import admin_world
from kmsapp.tests.access_matrix_documents import document
from kmsapp.tests.access_matrix_requests import DOCUMENT, TRUST
from kmsapp.tests.access_matrix_rules import OURS, PEOPLE, THEIRS, THINGS, Person, Thing


class Rows:
    """Everything that cells name, by thing and kind."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, callers: tuple[str, ...]) -> None:
        keyring = sealing.Keyring.from_master_key(bytes(32))
        monkeypatch.setattr(sealing, "keyring", lambda: keyring)
        self.accounts = {OURS: new_account(), THEIRS: new_account()}
        self.arns = {"*": "*"}
        self.arns |= {f"account:{name}": f"arn:aws:iam::{number}:root" for name, number in self.accounts.items()}
        self.people = {name: self._person(PEOPLE[name]) for name in callers if name in PEOPLE and name != "anonymous"}
        self._stores = {name: key_store(number, state="DISCONNECTED") for name, number in self.accounts.items()}
        for word, number in self.accounts.items():
            admin_world.fill(number, f"of-{word}")
        self.things = {thing.name: self._thing(thing) for thing in THINGS.values()}
        self._drafts()

    def _person(self, rule: Person) -> User:
        number = self.accounts[rule.account]
        if rule.is_root:
            account, _ = Account.objects.get_or_create(account_id=number, defaults={"created_at": clock.now()})
            root = User.root_of(account.pk, created_at=clock.now())
            root.save()
            return root
        user = person(rule.name.replace(" ", "-"), account=number, actions=rule.iam)
        if rule.denied:
            statement = {"Effect": "Deny", "Action": list(rule.denied), "Resource": "*"}
            text = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
            InlinePolicy.objects.create(user=user, name="Denied", document=text)
        User.objects.filter(pk=user.pk).update(is_staff=rule.name == "staff")
        self.arns[rule.name] = user.arn
        return user

    # Things

    def _thing(self, thing: Thing) -> dict[str, Any]:
        """Of every kind something, existing or not."""
        number, name = self.accounts[thing.account], f"thing-{thing.name.replace(' ', '-')}"
        found: dict[str, Any] = {
            "account": number,
            "user": name,
            "group": name,
            "key id": str(uuid.uuid4()),
            "key policy": document(THINGS["wide"].key_policy, self.arns),
            "store": "cks-00000000000000000",
            "cluster": "cluster-zzzzzzzzzzz",
            "certificate": self._stores[OURS].trust_anchor_certificate,
            "access key": "AKIA" + "Z" * 16,
            "assumed role": f"assumed-{name}",
            "user arn": self.people["administrator"].arn,
            "policy": f"arn:aws:iam::{number}:policy/{name}",
            "attached policy": f"arn:aws:iam::{number}:policy/{name}",
            "loose policy": f"arn:aws:iam::{number}:policy/loose-{name}",
            "policy name": name,
            "loose policy name": f"loose-{name}",
            "row": "99999999",
            "document": DOCUMENT,
            "trust": TRUST,
        }
        if not thing.exists:
            return found
        store = self._stores[thing.account]
        found["access key"] = self._identities(thing, number, name)
        text = document(thing.key_policy, self.arns)
        key = kms_key(store, policy_principals=self._ids(text))
        KmsKey.objects.filter(pk=key.pk).update(policy=text)
        return found | {
            "key id": key.key_id,
            "key policy": text,
            "store": store.custom_key_store_id,
            "cluster": store.cluster.cluster_id,
        }

    def _ids(self, text: str) -> dict[str, str]:
        """The unique ids of the people in a key policy, as PutKeyPolicy keeps them."""
        return {user.arn: user.user_id for user in self.people.values() if f'"{user.arn}"' in text}

    def _identities(self, thing: Thing, number: str, name: str) -> str:
        """A user, group and role of the name with everything that can be taken from them; return the access key."""
        now = clock.now()
        policy = self._policy(number, name, versions=2)
        self._policy(number, f"loose-{name}", versions=1)
        user = person(name, account=number, actions=())
        user.password, user.permissions_boundary = admin_world.PASSWORD_HASH, policy
        user.save()
        group = Group.objects.create(
            group_id=f"AGPA{uuid.uuid4().hex[:16]}", account_id=number, name=name, created_at=now
        )
        group.users.add(user)
        role = self._role(number, name, TRUST)
        role.permissions_boundary = policy
        role.save()
        self._role(number, f"assumed-{name}", document(thing.trust, self.arns, resource=False))
        for owner in (user, group, role):
            owner.managed_policies.add(policy)
        for one in ({"user": user}, {"group": group}, {"role": role}):
            InlinePolicy.objects.create(name="inline", document=DOCUMENT, **one)
        access_key_id, _ = credentials.create_access_key(user)
        return access_key_id

    def _role(self, number: str, name: str, trust: str) -> Role:
        return Role.objects.create(
            role_id=f"AROA{uuid.uuid4().hex[:16]}",
            account_id=number,
            name=name,
            trust_policy=trust,
            trust_principals=self._ids(trust),
            created_at=clock.now(),
        )

    def _policy(self, number: str, name: str, *, versions: int) -> ManagedPolicy:
        now = clock.now()
        policy = ManagedPolicy.objects.create(
            policy_id=f"ANPA{uuid.uuid4().hex[:16]}",
            account=number,
            name=name,
            created_at=now,
            updated_at=now,
            versions_made=versions,
        )
        for version in range(1, versions + 1):
            policy.versions.create(number=version, document=DOCUMENT, is_default=version == 1, created_at=now)
        return policy

    # Drafts of the wizard

    def _drafts(self) -> None:
        """One of each person's, complete, and one of somebody who calls nothing."""
        self.drafts = {name: self._draft(user) for name, user in self.people.items()}
        self._somebodys = self._draft(person("somebody", account=self.accounts[OURS], actions=()))

    def _draft(self, user: User) -> str:
        store = self._store_of(user)
        choices = Choices(
            origin="AWS_CLOUDHSM",
            custom_key_store_id=store.custom_key_store_id,
            alias="free",
            done=list(steps.ASKING),
        )
        draft = KeyDraft.objects.create(owner=user, account=user.account_id, region=REGION, data=asdict(choices))
        return str(draft.pk)

    def _store_of(self, user: User) -> CustomKeyStore:
        return next(store for store in self._stores.values() if store.account == user.account_id)

    # What a cell names

    def of(self, caller: str, name: str) -> dict[str, Any]:
        """Of every kind what the thing has; for a draft and for nothing, what the caller's account has."""
        if name in self.things:
            return self.things[name]
        account = PEOPLE[caller].account if caller in self.people else OURS
        own = self.things["foreign" if account == THEIRS else "shared"]
        drafts = {"own draft": self.drafts.get(caller, self._somebodys), "somebody's draft": self._somebodys}
        return own | {"draft": drafts.get(name, str(uuid.uuid4()))}
