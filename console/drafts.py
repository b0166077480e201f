"""The wizard's draft: what was entered, who may go on with it, and who of many Finishes does the work.

Order of calls: begin -> save (per step) -> claim -> (made | failed). A claim is one conditional UPDATE, so two tabs, a
double click or two workers make one key. A claim whose worker died may be taken again after CLAIM_SECONDS: the call it
made carries the draft's id, so that KMS answers with the key of the first attempt instead of making a second one.
"""

from __future__ import annotations

import datetime
from dataclasses import asdict, dataclass, field, fields
from typing import Any
from uuid import UUID

from django.db.models import Q
from django.http import Http404

from console.models import KeyDraft
from hsmapp import clock
from kmsapp.caller import Caller
from kmsapp.models import User
from kmsapp.policy.defaults import console_policy

CLAIM_SECONDS = 60
KEPT = datetime.timedelta(days=30)  # a draft that nobody touched for so long goes


@dataclass
class Choices:
    """Everything the wizard asks. Wrong input is kept too, so that going back and forth loses nothing."""

    key_type: str = "symmetric"
    key_usage: str = "ENCRYPT_DECRYPT"
    origin: str = ""
    regionality: str = "single"
    custom_key_store_id: str = ""
    alias: str = ""  # without alias/
    description: str = ""
    tags: list[list[str]] = field(default_factory=list)  # [key, value]; empty rows are rows still to be filled in
    administrators: list[str] = field(default_factory=list)  # ARNs
    administrators_may_delete: bool = True
    users: list[str] = field(default_factory=list)  # ARNs
    other_accounts: list[str] = field(default_factory=list)  # as typed
    edited_policy: str = ""  # empty: the policy is built from the choices above
    built_policy: str = ""  # the one that was built when the editing began
    done: list[str] = field(default_factory=list)  # slugs of the steps that were left with Next

    @classmethod
    def of(cls, draft: KeyDraft) -> Choices:
        known = {entry.name for entry in fields(cls)}
        return cls(**{name: value for name, value in draft.data.items() if name in known})

    def policy(self, account: str) -> str:
        """The key policy as it would be created now."""
        return self.edited_policy or self.policy_from_choices(account)

    def policy_from_choices(self, account: str) -> str:
        return console_policy(
            account,
            administrators=self.administrators,
            administrators_may_delete=self.administrators_may_delete,
            users=self.users,
            other_accounts=[number for number in self.other_accounts if number],
        )

    def policy_is_outdated(self, account: str) -> bool:
        """Whether the choices were changed after the policy was edited by hand."""
        return bool(self.edited_policy) and self.built_policy != self.policy_from_choices(account)

    def filled_tags(self) -> list[list[str]]:
        return [row for row in self.tags if row[0] or row[1]]


def begin(caller: Caller, owner: User, choices: Choices) -> KeyDraft:
    """Start a draft; forgotten ones of the same person go."""
    KeyDraft.objects.filter(owner=owner, updated_at__lt=clock.now() - KEPT).delete()
    return KeyDraft.objects.create(owner=owner, account=caller.account, region=caller.region, data=asdict(choices))


def open_for(owner: User, draft_id: UUID) -> KeyDraft:
    """Return the person's own draft. Somebody else's is as if it did not exist."""
    draft = KeyDraft.objects.filter(pk=draft_id, owner=owner).first()
    if draft is None:
        raise Http404("No such draft")
    return draft


def save(draft: KeyDraft, choices: Choices) -> bool:
    """Keep the choices. False: Finish is at work on the draft, or has made its key."""
    draft.data = asdict(choices)
    draft.failure = {}
    changed = KeyDraft.objects.filter(pk=draft.pk, state=KeyDraft.State.DRAFT).update(
        data=draft.data, failure={}, updated_at=clock.now()
    )
    return changed == 1


def discard(draft: KeyDraft) -> None:
    """Throw the draft away, unless Finish is at work on it."""
    KeyDraft.objects.filter(pk=draft.pk, state=KeyDraft.State.DRAFT).delete()


def claim(draft: KeyDraft) -> bool:
    """Take the draft for Finish. False: somebody else has it, or its key was made."""
    now = clock.now()
    free = Q(state=KeyDraft.State.DRAFT) | Q(
        state=KeyDraft.State.CLAIMED, claimed_at__lt=now - datetime.timedelta(seconds=CLAIM_SECONDS)
    )
    claimed = KeyDraft.objects.filter(free, pk=draft.pk).update(
        state=KeyDraft.State.CLAIMED, claimed_at=now, failure={}
    )
    if claimed:
        # What another tab saved since the draft was read counts.
        draft.refresh_from_db()
    return claimed == 1


def is_stuck(draft: KeyDraft) -> bool:
    """Whether the worker that claimed the draft seems to be gone, so that Finish may be chosen again."""
    latest = clock.now() - datetime.timedelta(seconds=CLAIM_SECONDS)
    return draft.state == KeyDraft.State.CLAIMED and draft.claimed_at is not None and draft.claimed_at < latest


def made(draft: KeyDraft, key_id: str, alias: str) -> None:
    """Its key was made, with that alias (without alias/): another than the draft's, if an earlier Finish made it."""
    draft.data = {**draft.data, "alias": alias}
    KeyDraft.objects.filter(pk=draft.pk).update(state=KeyDraft.State.DONE, made_key_id=key_id, data=draft.data)


def failed(draft: KeyDraft, code: str, message: str) -> None:
    """Give the claim back and keep why; everything that was entered stays."""
    draft.failure = {"code": code, "message": message}
    # Only one's own claim: a later one may be at work by now.
    KeyDraft.objects.filter(pk=draft.pk, state=KeyDraft.State.CLAIMED, claimed_at=draft.claimed_at).update(
        state=KeyDraft.State.DRAFT, failure=draft.failure
    )


def parameters(draft: KeyDraft) -> dict[str, Any]:
    """Return the parameters of console:CreateKeyWithAlias."""
    choices = Choices.of(draft)
    return {
        "AliasName": f"alias/{choices.alias}",
        "Description": choices.description,
        "KeySpec": "SYMMETRIC_DEFAULT",
        "KeyUsage": choices.key_usage,
        "Origin": choices.origin,
        "CustomKeyStoreId": choices.custom_key_store_id,
        "MultiRegion": choices.regionality == "multi",
        "Policy": choices.policy(draft.account),
        "Tags": [{"TagKey": key, "TagValue": value} for key, value in choices.filled_tags()],
        "DraftId": str(draft.pk),
    }
