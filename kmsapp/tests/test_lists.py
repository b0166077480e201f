"""Every list, page by page: each item comes once, whatever is added or removed between two pages."""

from __future__ import annotations

import base64
import copy
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from hsmapp import clock
from hsmapp.models import Cluster
from kmsapp import demo
from kmsapp.errors import CloudHsmInvalidRequestException, InvalidMarkerException, KmsError, ValidationException
from kmsapp.models import Alias, CustomKeyStore, Grant, KmsKey, Tag
from kmsapp.tests.people import ALICE, BOB, ELSEWHERE, call

RETIRABLE = 0x900  # the number of a key that has the grants that alice may retire


def demo_key() -> KmsKey:
    return KmsKey.objects.get(key_id=demo.KEY_ID)


def add_key(number: int) -> None:
    key = demo_key()
    key.pk, key.material, key.key_id = None, None, f"{number:08x}-0000-4000-8000-000000000000"
    key.save(force_insert=True)


def add_alias(number: int) -> None:
    now, key = clock.now(), demo_key()
    # Upper and lower case in turn: the order is that of bytes, in which all of A-Z comes before a.
    name = f"alias/{'zZ'[number % 4 // 2]}-{number:03}"
    Alias.objects.create(account=key.account, region=key.region, name=name, key=key, created_at=now, updated_at=now)


def add_tag(number: int) -> None:
    Tag.objects.create(key=demo_key(), tag_key=f"tag {number:03}", tag_value=str(number))


def add_store(number: int) -> None:
    store = CustomKeyStore.objects.get(custom_key_store_id=demo.KEY_STORE_ID)
    store.pk, store.custom_key_store_id, store.name = None, f"cks-{number:017x}", f"store {number}"
    # A cluster has one key store at most. This one is in no list of clusters that the tests count.
    store.cluster = copy_of_cluster(f"cluster-of-{number:08}", region="eu-central-1")
    store.save(force_insert=True)


def add_cluster(number: int) -> None:
    copy_of_cluster(f"cluster-{number:011}")


def copy_of_cluster(cluster_id: str, **fields: str) -> Cluster:
    cluster = Cluster.objects.get(cluster_id=demo.CLUSTER_ID)
    for name, value in {"pk": None, "cluster_id": cluster_id, **fields}.items():
        setattr(cluster, name, value)
    cluster.save(force_insert=True)
    return cluster


def add_grant(number: int) -> None:
    _add_grant(f"{number:064x}", demo_key(), ALICE.principal_arn, "")


def add_retirable_grant(number: int) -> None:
    """On a key of their own, so that they are in no list of the grants on a key."""
    key = KmsKey.objects.filter(key_id=f"{RETIRABLE:08x}-0000-4000-8000-000000000000").first()
    if key is None:
        add_key(RETIRABLE)
        return add_retirable_grant(number)
    return _add_grant(f"{number:063x}f", key, BOB.principal_arn, ALICE.principal_arn)


def _add_grant(grant_id: str, key: KmsKey, grantee: str, retiring: str) -> None:
    ids = {caller.principal_arn: caller.principal_id for caller in (ALICE, BOB)}
    Grant.objects.create(
        grant_id=grant_id,
        key=key,
        grantee_principal=grantee,
        grantee_id=ids[grantee],
        retiring_principal=retiring,
        retiring_id=ids.get(retiring, ""),
        issuing_account=demo.ACCOUNT,
        operations=["Decrypt"],
        properties_sha256=grant_id,
        created_at=clock.now(),
    )


@dataclass(frozen=True)
class Listing:
    """A list of AWS's, with the names that it uses for one and the same thing."""

    operation: str
    items: str
    name: str  # the member that tells an item from the others
    add: Callable[[int], None]
    remove: Callable[[str], Any]
    limit: str = "Limit"
    marker: str = "Marker"
    next_marker: str = "NextMarker"
    params: dict[str, Any] = field(default_factory=dict)
    refused: type[KmsError] = InvalidMarkerException

    def page(self, limit: int, marker: str = "") -> tuple[list[str], str]:
        """Names of the items of a page, and the marker of the next; empty after the last."""
        asked: dict[str, Any] = {**self.params, self.limit: limit}
        if marker:
            asked[self.marker] = marker
        answer = call(self.operation, **asked)
        following = answer.get(self.next_marker, "")
        if self.next_marker == "NextMarker":
            assert answer["Truncated"] is bool(following)
        return [item[self.name] for item in answer[self.items]], following

    def pages(self, limit: int, marker: str = "") -> Iterator[list[str]]:
        while True:
            names, marker = self.page(limit, marker)
            yield names
            if not marker:
                return

    def all(self) -> list[str]:
        (names,) = self.pages(25)
        return names


LISTS = {
    listing.operation: listing
    for listing in (
        Listing("ListKeys", "Keys", "KeyId", add_key, lambda name: KmsKey.objects.filter(key_id=name).delete()),
        Listing(
            "ListAliases", "Aliases", "AliasName", add_alias, lambda name: Alias.objects.filter(name=name).delete()
        ),
        Listing(
            "ListResourceTags",
            "Tags",
            "TagKey",
            add_tag,
            lambda name: Tag.objects.filter(tag_key=name).delete(),
            params={"KeyId": demo.KEY_ID},
        ),
        Listing(
            "ListGrants",
            "Grants",
            "GrantId",
            add_grant,
            lambda name: Grant.objects.filter(grant_id=name).delete(),
            params={"KeyId": demo.KEY_ID},
        ),
        Listing(
            "ListRetirableGrants",
            "Grants",
            "GrantId",
            add_retirable_grant,
            lambda name: Grant.objects.filter(grant_id=name).delete(),
            params={"RetiringPrincipal": ALICE.principal_arn},
        ),
        Listing(
            "DescribeCustomKeyStores",
            "CustomKeyStores",
            "CustomKeyStoreId",
            add_store,
            lambda name: CustomKeyStore.objects.filter(custom_key_store_id=name).delete(),
        ),
        Listing(
            "cloudhsm:DescribeClusters",
            "Clusters",
            "ClusterId",
            add_cluster,
            lambda name: Cluster.objects.filter(cluster_id=name).delete(),
            limit="MaxResults",
            marker="NextToken",
            next_marker="NextToken",
            refused=CloudHsmInvalidRequestException,
        ),
    )
}
EVERY_LIST = pytest.mark.parametrize("listing", LISTS.values(), ids=LISTS)


@pytest.fixture
def seven(rows: None) -> None:
    """Seven more items in each list, with room between them."""
    for listing in LISTS.values():
        for number in range(10, 80, 10):
            listing.add(number)


@EVERY_LIST
def test_pages_of_any_size_give_each_item_once_and_in_order(seven: None, listing: Listing) -> None:
    everything = listing.all()
    assert len(everything) >= 7
    assert everything == sorted(everything, key=str.encode)
    for limit in (1, 2, 3, len(everything) - 1, len(everything), len(everything) + 1):
        pages = list(listing.pages(limit))
        assert [name for page in pages for name in page] == everything
        assert [len(page) for page in pages[:-1]] == [limit] * (len(pages) - 1)
        assert len(pages) == -(-len(everything) // limit), "no empty page at the end"


@EVERY_LIST
def test_what_comes_and_goes_between_pages_shifts_nothing(seven: None, listing: Listing) -> None:
    everything = listing.all()
    first, marker = listing.page(3)
    assert first == everything[:3]
    listing.remove(first[-1])  # the very item that the marker names
    listing.remove(first[0])
    for number in range(1, 9):
        listing.add(number)
    earlier = [name for name in listing.all() if name < first[-1]]
    assert len(earlier) > len(first), "most of the new ones come before the page that was read"
    later = [name for name in listing.all() if name > first[-1]]
    rest = [name for page in listing.pages(2, marker) for name in page]
    assert rest == later
    assert set(everything[3:]) <= set(rest)
    assert not set(first) & set(rest)


@EVERY_LIST
def test_a_marker_of_another_list_is_refused(seven: None, listing: Listing) -> None:
    for other in LISTS.values():
        _, marker = other.page(1)
        if other is listing:
            assert listing.page(1, marker)[0] == listing.all()[1:2]
            continue
        with pytest.raises(listing.refused):
            listing.page(1, marker)


@EVERY_LIST
def test_a_changed_marker_is_refused(seven: None, listing: Listing) -> None:
    _, marker = listing.page(2)
    raw = base64.urlsafe_b64decode(marker)
    for position in range(len(raw)):
        changed = raw[:position] + bytes([raw[position] ^ 1]) + raw[position + 1 :]
        with pytest.raises(listing.refused):
            listing.page(2, base64.urlsafe_b64encode(changed).decode())
    for text in (marker[:-4], marker[4:], marker[:1], "AAAA", "not base64 at all", "é", marker.lower()):
        with pytest.raises(listing.refused):
            listing.page(2, text)


@EVERY_LIST
@pytest.mark.parametrize("limit", [0, -1, 1001])
def test_a_limit_out_of_range_is_refused(rows: None, listing: Listing, limit: int) -> None:
    with pytest.raises((ValidationException, CloudHsmInvalidRequestException)):
        listing.page(limit)


@EVERY_LIST
def test_a_marker_is_of_no_use_to_another_account_or_in_another_region(seven: None, listing: Listing) -> None:
    _, marker = listing.page(2)
    for caller in (ELSEWHERE, replace(ALICE, region="eu-west-1")):
        with pytest.raises(KmsError) as refused:
            call(listing.operation, caller, **listing.params, **{listing.marker: marker})
        # A list of a key's, or of a principal's, names it, and neither of them can even find that.
        assert listing.params or type(refused.value) is listing.refused


def test_a_marker_of_one_keys_aliases_does_not_continue_anothers(seven: None) -> None:
    everything = LISTS["ListAliases"]
    of_key = replace(everything, params={"KeyId": demo.KEY_ID})
    assert of_key.all() == everything.all()
    _, marker = of_key.page(2)
    with pytest.raises(InvalidMarkerException):
        everything.page(2, marker)
    add_key(1)
    with pytest.raises(InvalidMarkerException):
        replace(everything, params={"KeyId": "00000001-0000-4000-8000-000000000000"}).page(2, marker)


def test_a_marker_of_one_keys_tags_does_not_continue_anothers(seven: None) -> None:
    tags = LISTS["ListResourceTags"]
    _, marker = tags.page(2)
    add_key(1)
    with pytest.raises(InvalidMarkerException):
        replace(tags, params={"KeyId": "00000001-0000-4000-8000-000000000000"}).page(2, marker)


def test_a_marker_of_one_filter_of_grants_does_not_continue_anothers(seven: None) -> None:
    grants = LISTS["ListGrants"]
    _, marker = grants.page(2)
    filtered = replace(grants, params={**grants.params, "GranteePrincipal": ALICE.principal_arn})
    assert filtered.all() == grants.all()
    with pytest.raises(InvalidMarkerException):
        filtered.page(2, marker)
    with pytest.raises(InvalidMarkerException):
        replace(grants, params={"KeyId": f"{RETIRABLE:08x}-0000-4000-8000-000000000000"}).page(2, marker)


def test_grants_come_a_hundred_at_most_and_fifty_by_default(rows: None) -> None:
    for number in range(120):
        add_grant(number)
    for limit, shown in ((1000, 100), (99, 99)):
        assert len(LISTS["ListGrants"].page(limit)[0]) == shown
    assert len(call("ListGrants", KeyId=demo.KEY_ID)["Grants"]) == 50


KEYS = int(os.environ.get("CASEMATE_LISTED_KEYS", "3000"))


def test_every_key_is_on_one_page_however_many_there_are(rows: None) -> None:
    """I7. CASEMATE_LISTED_KEYS sets another number of keys."""
    template, made = demo_key(), []
    for number in range(KEYS - 1):
        key = copy.copy(template)
        key.pk, key.material, key.key_id = None, None, f"{number:08x}-0000-4000-8000-000000000000"
        made.append(key)
    KmsKey.objects.bulk_create(made, batch_size=500)
    sizes, seen, queries = [], set[str](), set[int]()
    call("ListKeys", Limit=1)  # which fills the caches
    pages = LISTS["ListKeys"].pages(1000)
    while True:
        with CaptureQueriesContext(connection) as asked:
            page = next(pages, None)
        if page is None:
            break
        sizes.append(len(page))
        seen.update(page)
        queries.add(len(asked))
    assert len(seen) == sum(sizes) == KEYS
    assert len(queries) == 1, "each page costs the same queries"
    print(f"{KEYS:,} keys on {len(sizes)} pages, {queries.pop()} queries for each")


def test_aliases_come_a_hundred_at_most_and_fifty_by_default(rows: None) -> None:
    for number in range(150):
        add_alias(number)
    for limit, shown in ((1000, 100), (100, 100), (99, 99)):
        assert len(LISTS["ListAliases"].page(limit)[0]) == shown
    assert len(call("ListAliases")["Aliases"]) == 50
    assert sum(len(page) for page in LISTS["ListAliases"].pages(1000)) == 151


def test_keys_come_a_hundred_by_default_and_a_thousand_when_asked(rows: None) -> None:
    for number in range(120):
        add_key(number)
    assert len(call("ListKeys")["Keys"]) == 100
    assert len(call("ListKeys", Limit=1000)["Keys"]) == 121
