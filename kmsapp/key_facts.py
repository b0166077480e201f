"""What a call needs to know of a key, read once per epoch: no ORM query on the path of Encrypt and Decrypt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from hsmapp import epochs
from hsmapp.cluster import Material
from kmsapp import arns, ciphertext, condition_keys, key_states
from kmsapp.compiled_policies import compiled_key_policy
from kmsapp.models import Alias, KmsKey, Tag
from kmsapp.policy.documents import Document


@dataclass(frozen=True)
class KeyFacts:
    """A key as calls see it."""

    pk: int
    account: str
    region: str
    key_id: str
    key_state: str  # as shown: Unavailable when the store is not connected
    key_spec: str
    key_usage: str
    origin: str
    custom_key_store_id: str  # empty: the default key store
    material: Material | None
    multi_region: bool = False
    policy: str = field(default="", repr=False)
    policy_principals: Mapping[str, str] = field(default_factory=dict)  # ARN in the policy -> unique id

    @cached_property
    def arn(self) -> str:
        return arns.key_arn(self.region, self.account, self.key_id)

    @cached_property
    def ciphertext_header(self) -> ciphertext.Header:
        """What its ciphertexts begin with. Raises ValueError if it has no material."""
        if self.material is None:
            raise ValueError("a key without material encrypts nothing")
        return ciphertext.Header(self.account, self.key_id, bytes.fromhex(self.material.backing_key_id))

    @cached_property
    def key_policy(self) -> Document:
        return compiled_key_policy(self.policy, self.account)

    # Few policies ask for these, so they are read when one does. The facts are of one epoch or newer.
    @cached_property
    def alias_names(self) -> tuple[str, ...]:
        """With their prefix alias/."""
        return tuple(Alias.objects.filter(key_id=self.pk).order_by("name").values_list("name", flat=True))

    @cached_property
    def tags(self) -> Mapping[str, str]:
        return dict(Tag.objects.filter(key_id=self.pk).values_list("tag_key", "tag_value"))

    @cached_property
    def condition_keys(self) -> Mapping[str, condition_keys.Value]:
        """What policies may ask about the key."""
        return condition_keys.of_key(self)


_keys: epochs.Cached[KeyFacts | None] = epochs.Cached()
_aliases: epochs.Cached[str | None] = epochs.Cached()


def by_id(account: str, region: str, key_id: str) -> KeyFacts | None:
    """The key, or None."""
    return _keys.get(account, ("key", region, key_id), lambda: _read(account, region, key_id))


def by_alias(account: str, region: str, alias_name: str) -> KeyFacts | None:
    """The key that an alias (with its prefix alias/) points to, or None if there is no such alias."""
    key_id = _aliases.get(account, ("alias", region, alias_name), lambda: _read_alias(account, region, alias_name))
    return by_id(account, region, key_id) if key_id else None


def _read_alias(account: str, region: str, alias_name: str) -> str | None:
    rows = Alias.objects.filter(account=account, region=region, name=alias_name)
    return rows.values_list("key__key_id", flat=True).first()


def _read(account: str, region: str, key_id: str) -> KeyFacts | None:
    key = (
        KmsKey.objects.select_related("custom_key_store", "material")
        .filter(account=account, region=region, key_id=key_id)
        .first()
    )
    return of(key) if key is not None else None


def of(key: KmsKey) -> KeyFacts:
    """The facts of a row (with its store and material already fetched)."""
    store = key.custom_key_store
    return KeyFacts(
        pk=key.pk,
        account=key.account,
        region=key.region,
        key_id=key.key_id,
        key_state=shown_state(key),
        key_spec=key.key_spec,
        key_usage=key.key_usage,
        origin=key.origin,
        custom_key_store_id=store.custom_key_store_id if store else "",
        material=Material.of(key.material) if key.material else None,
        multi_region=key.multi_region,
        policy=key.policy,
        policy_principals=key.policy_principals,
    )


def shown_state(key: KmsKey) -> str:
    """The KeyState to show for a row."""
    store = key.custom_key_store
    return key_states.shown(key.key_state, store_connected=store is None or store.is_connected)
