"""The core in one process, on real HSMs: keys are made everywhere or nowhere, and outlive the HSMs they are on."""

from __future__ import annotations

import datetime
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from hsmapp import clock, credentials, hsms, jobs, resync
from hsmapp.device.protocol import Connection
from hsmapp.models import ClusterCredential, Hsm, HsmOnPreviousPassword, KeyIntent, MaskedKey
from hsmapp.replication import Device
from hsmapp.testing import process_of, state_of, wait_until
from kmsapp import demo
from kmsapp.errors import (
    AlreadyExistsException,
    CloudHsmClusterInvalidConfigurationException,
    CustomKeyStoreInvalidStateException,
    KmsError,
    KMSInvalidStateException,
    ValidationException,
)
from kmsapp.models import Alias, AuditEvent, CustomKeyStore, KmsKey
from kmsapp.tests.people import ALICE, call, create_key, decrypt, encrypt

FIRST, SECOND = (str(member["hsm_id"]) for member in demo.HSMS)


@contextmanager
def logged_in(hsm_id: str) -> Iterator[Connection]:
    """A connection to one HSM as kmsuser, as this service itself would have it."""
    credential = ClusterCredential.objects.select_related("cluster").get(
        cluster__hsms__hsm_id=hsm_id, user_name="kmsuser"
    )
    with credentials.log_in(Hsm.objects.get(hsm_id=hsm_id), credential, credentials.current_password(credential)) as it:
        yield it


def labels(hsm_id: str) -> set[str]:
    """Labels of the keys in the token of an HSM."""
    with logged_in(hsm_id) as hsm:
        page = hsm.call("list_keys", {"after": "", "limit": 500}, deadline_seconds=5)
    return {row[0] for row in page["keys"]}


def opens_on(hsm_id: str, key_id: str) -> bool:
    """Whether the key's check ciphertext opens on that very HSM."""
    row = MaskedKey.objects.get(kms_key__key_id=key_id)
    args = {"label": row.label, "check": bytes(row.check_ciphertext), "plaintext": b"x", "aad": b""}
    with logged_in(hsm_id) as hsm:
        return "sealed" in hsm.call("encrypt", args, deadline_seconds=5)


def finish(*, alias: str, draft: str) -> dict[str, Any]:
    """The wizard's Finish."""
    store = demo.KEY_STORE_ID
    return call(
        "console:CreateKeyWithAlias",
        Origin="AWS_CLOUDHSM",
        CustomKeyStoreId=store,
        AliasName=f"alias/{alias}",
        DraftId=draft,
    )


def kill(hsm_id: str, folder: Path) -> int:
    """kill -9 the HSM's process and return its id."""
    pid = process_of(hsm_id, folder)
    os.kill(pid, signal.SIGKILL)
    return pid


def wait_for_successor(hsm_id: str, killed: int, folder: Path) -> None:
    """Wait until another process of the HSM serves. Before it starts, the HSM has been DEGRADED."""

    def another_serves() -> bool:
        try:
            return process_of(hsm_id, folder) != killed and state_of(hsm_id) == "ACTIVE"
        except LookupError:
            return False

    wait_until(another_serves, f"{hsm_id} to serve again")


def test_a_key_is_made_on_every_hsm_and_used_under_its_encryption_context(installation: Path) -> None:
    key_id = create_key(Description="payments", Tags=[{"TagKey": "team", "TagValue": "ledger"}])
    blob = encrypt(key_id, b"hello", EncryptionContext={"a": "b"})
    assert decrypt(blob, EncryptionContext={"a": "b"}) == b"hello"
    assert opens_on(FIRST, key_id) and opens_on(SECOND, key_id)
    assert set(KeyIntent.objects.values_list("state", flat=True)) == {"done"}
    assert call("ListResourceTags", KeyId=key_id)["Tags"] == [{"TagKey": "team", "TagValue": "ledger"}]
    recorded = AuditEvent.objects.filter(event_name="CreateKey").order_by("-id")[0].event
    assert recorded["responseElements"]["keyMetadata"]["keyId"] == key_id
    assert recorded["requestParameters"]["tags"] == [{"tagKey": "team", "tagValue": "ledger"}]


def test_two_finishes_with_one_alias_make_one_key(installation: Path) -> None:
    answers: list[object] = []

    def race(draft: str) -> None:
        try:
            answers.append(finish(alias="one", draft=draft))
        except KmsError as error:
            answers.append(error)
        finally:
            connection.close()

    before = KmsKey.objects.count()
    threads = [threading.Thread(target=race, args=(f"draft-{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    refused = [answer for answer in answers if isinstance(answer, AlreadyExistsException)]
    assert len(answers) == 4 and len(refused) == 3, answers
    assert KmsKey.objects.count() == before + 1
    assert Alias.objects.filter(name="alias/one").count() == 1
    for hsm_id in (FIRST, SECOND):
        assert labels(hsm_id) == set(MaskedKey.objects.values_list("label", flat=True))


def test_a_repeated_finish_of_one_draft_gives_the_same_key(installation: Path) -> None:
    first = finish(alias="again", draft="draft-1")
    second = finish(alias="again", draft="draft-1")
    assert first["KeyMetadata"]["KeyId"] == second["KeyMetadata"]["KeyId"]
    assert KmsKey.objects.filter(aliases__name="alias/again").count() == 1


def test_a_key_survives_kill_9_of_each_hsm_in_turn(installation: Path) -> None:
    key_id = create_key()
    blob = encrypt(key_id, b"precious")
    for hsm_id in (FIRST, SECOND):
        killed = kill(hsm_id, installation)
        for _ in range(20):
            assert decrypt(blob) == b"precious"
        wait_for_successor(hsm_id, killed, installation)
        assert opens_on(hsm_id, key_id)


def test_create_key_with_one_hsm_stopped_is_refused_and_leaves_nothing(installation: Path) -> None:
    before = (KmsKey.objects.count(), labels(FIRST))
    hsms.stop(Hsm.objects.select_related("cluster").get(hsm_id=SECOND))
    with pytest.raises(CloudHsmClusterInvalidConfigurationException, match="1 active HSMs in 1 Availability Zones"):
        create_key()
    assert (KmsKey.objects.count(), labels(FIRST)) == before
    hsms.start(Hsm.objects.select_related("cluster").get(hsm_id=SECOND))
    wait_until(lambda: state_of(SECOND) == "ACTIVE", "the HSM to serve again")
    create_key()


def test_create_key_while_an_hsm_is_killed_is_acknowledged_everywhere_or_not_at_all(installation: Path) -> None:
    """An acknowledged key is on every HSM that serves, and an HSM holds no key that nobody was told about."""
    made, refused = [], 0
    for round_ in range(6):
        pid = process_of(FIRST, installation)
        killer = threading.Timer(0.003 * round_, os.kill, (pid, signal.SIGKILL))
        killer.start()
        try:
            made.append(create_key())
        except CloudHsmClusterInvalidConfigurationException:
            refused += 1
        killer.join()
        wait_for_successor(FIRST, pid, installation)
    for key_id in made:
        assert opens_on(FIRST, key_id) and opens_on(SECOND, key_id)
    known = set(MaskedKey.objects.values_list("label", flat=True))
    wait_until(lambda: not KeyIntent.objects.filter(state="abandoned").exclude(hsms=[]), "the cleaning")
    assert labels(FIRST) == labels(SECOND) == known
    print(f"{len(made)} keys made, {refused} refused, in 6 kills")


def test_an_hsm_that_comes_back_has_the_keys_made_meanwhile(installation: Path) -> None:
    cluster = CustomKeyStore.objects.get(custom_key_store_id=demo.KEY_STORE_ID).cluster
    third = hsms.new_hsm(
        cluster,
        hsm_id="hsm-cccccccccccc",
        availability_zone="us-west-2c",
        subnet_id="subnet-c6b10bd3",
        eni_id="eni-ea8647e3",
        eni_ip="10.0.2.3",
    ).hsm_id
    wait_until(lambda: state_of(third) == "ACTIVE", "a third HSM to join the cluster")
    assert opens_on(third, demo.KEY_ID), "a new HSM has the keys made before"
    hsms.stop(Hsm.objects.select_related("cluster").get(hsm_id=third))
    key_id = create_key()
    # Its password changes while it is away.
    call("DisconnectCustomKeyStore", CustomKeyStoreId=demo.KEY_STORE_ID)
    call("ConnectCustomKeyStore", CustomKeyStoreId=demo.KEY_STORE_ID)
    assert HsmOnPreviousPassword.objects.filter(hsm__hsm_id=third).exists()
    hsms.start(Hsm.objects.select_related("cluster").get(hsm_id=third))
    wait_until(lambda: state_of(third) == "ACTIVE", "the third HSM to come back")
    assert opens_on(third, key_id)
    assert not HsmOnPreviousPassword.objects.exists()


def test_an_hsm_that_lacks_a_key_gets_it_from_the_masked_key_when_asked(installation: Path) -> None:
    key_id = create_key()
    row = MaskedKey.objects.get(kms_key__key_id=key_id)
    blob = encrypt(key_id, b"still here")
    for hsm_id in (FIRST, SECOND):
        with logged_in(hsm_id) as hsm:
            destroyed = hsm.call("destroy_key", {"label": row.label, "id": row.backing_key_id}, deadline_seconds=5)
            assert destroyed["destroyed"] == 1
    assert {decrypt(blob) for _ in range(8)} == {b"still here"}
    assert row.label in labels(FIRST) and row.label in labels(SECOND)


def test_keys_of_a_disconnected_store_are_unavailable_until_it_connects_again(installation: Path) -> None:
    key_id = create_key()
    blob = encrypt(key_id, b"x")
    call("DisconnectCustomKeyStore", CustomKeyStoreId=demo.KEY_STORE_ID)
    assert call("DescribeKey", KeyId=key_id)["KeyMetadata"]["KeyState"] == "Unavailable"
    with pytest.raises(KMSInvalidStateException, match="is unavailable"):
        decrypt(blob)
    with pytest.raises(CustomKeyStoreInvalidStateException, match="DISCONNECTED"):
        create_key()
    call("ConnectCustomKeyStore", CustomKeyStoreId=demo.KEY_STORE_ID)
    assert call("DescribeKey", KeyId=key_id)["KeyMetadata"]["KeyState"] == "Enabled"
    assert decrypt(blob) == b"x"


def test_connect_rotates_the_password_and_finishes_a_rotation_that_was_cut_short(installation: Path) -> None:
    store = CustomKeyStore.objects.select_related("credential__cluster").get(custom_key_store_id=demo.KEY_STORE_ID)
    before = credentials.current_password(store.credential)
    call("DisconnectCustomKeyStore", CustomKeyStoreId=demo.KEY_STORE_ID)
    # A kill -9 between the two HSMs: the first has the pending password, the second still the current one.
    pending = credentials.draw_password()
    store.credential.pending_password_sealed = credentials.seal(store.cluster.cluster_id, "kmsuser", pending)
    store.credential.save()
    with logged_in(FIRST) as hsm:
        hsm.call("change_password", {"user": "kmsuser", "password": pending}, deadline_seconds=5)
    call("ConnectCustomKeyStore", CustomKeyStoreId=demo.KEY_STORE_ID)
    store.refresh_from_db()
    assert store.connection_state == "CONNECTED"
    credential = ClusterCredential.objects.select_related("cluster").get(pk=store.credential.pk)
    assert credentials.current_password(credential) not in {before, pending}
    assert credential.pending_password_sealed is None


def test_a_wrong_password_ends_in_failed_with_its_code_and_a_disconnect_clears_it(installation: Path) -> None:
    store = CustomKeyStore.objects.select_related("credential__cluster").get(custom_key_store_id=demo.KEY_STORE_ID)
    right = credentials.current_password(store.credential)
    call("DisconnectCustomKeyStore", CustomKeyStoreId=demo.KEY_STORE_ID)
    credentials.set_password(store.credential, "Wrong1234567")
    call("ConnectCustomKeyStore", CustomKeyStoreId=demo.KEY_STORE_ID)
    shown = call("DescribeCustomKeyStores")["CustomKeyStores"][0]
    assert (shown["ConnectionState"], shown["ConnectionErrorCode"]) == ("FAILED", "INVALID_CREDENTIALS")
    with pytest.raises(CustomKeyStoreInvalidStateException):
        call("ConnectCustomKeyStore", CustomKeyStoreId=demo.KEY_STORE_ID)
    call("DisconnectCustomKeyStore", CustomKeyStoreId=demo.KEY_STORE_ID)
    credentials.set_password(store.credential, right)
    call("ConnectCustomKeyStore", CustomKeyStoreId=demo.KEY_STORE_ID)
    assert call("DescribeCustomKeyStores")["CustomKeyStores"][0]["ConnectionState"] == "CONNECTED"


def test_an_intent_that_was_cut_short_is_abandoned_and_its_objects_are_destroyed(installation: Path) -> None:
    """What a worker leaves that is killed between the HSMs and the database."""
    label = f"arn:aws:kms:{demo.REGION}:{demo.ACCOUNT}:key/99999999-9999-4999-8999-999999999999"
    now = clock.now() - datetime.timedelta(minutes=1)
    cluster = CustomKeyStore.objects.get(custom_key_store_id=demo.KEY_STORE_ID).cluster
    intent = KeyIntent.objects.create(
        cluster=cluster, label=label, backing_key_id="ab" * 32, hsms=[FIRST, SECOND], created_at=now, deadline=now
    )
    with logged_in(FIRST) as hsm:
        args = {"label": label, "id": intent.backing_key_id}
        wrapped = hsm.call("generate_key", args, deadline_seconds=5)
        hsm.call("restore_key", {**args, **wrapped}, deadline_seconds=5)
    assert label in labels(FIRST)
    jobs.abandon_overdue_intents(clock.now())
    cleaned = KeyIntent.objects.filter(pk=intent.pk, state="abandoned", hsms=[])
    wait_until(cleaned.exists, "the intent's HSMs to be clean")
    assert label not in labels(FIRST)


def test_the_caller_of_another_account_sees_nothing(installation: Path) -> None:
    from kmsapp.tests.people import CAROL

    assert call("ListKeys", CAROL)["Keys"] == []
    assert len(call("ListKeys", ALICE)["Keys"]) == 1


def test_a_connect_while_an_hsm_comes_back_does_not_leave_it_with_the_old_password(
    installation: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The HSM has been given the password of that moment, and is not ACTIVE yet, when a connect changes it."""
    passed, go_on = threading.Event(), threading.Event()
    change_passwords = resync._change_passwords

    def hold(device: Device) -> None:
        change_passwords(device)
        if not passed.is_set():
            passed.set()
            go_on.wait(30)

    call("DisconnectCustomKeyStore", CustomKeyStoreId=demo.KEY_STORE_ID)
    monkeypatch.setattr(resync, "_change_passwords", hold)
    kill(FIRST, installation)
    assert passed.wait(30)
    call("ConnectCustomKeyStore", CustomKeyStoreId=demo.KEY_STORE_ID)
    assert HsmOnPreviousPassword.objects.filter(hsm__hsm_id=FIRST).exists()
    go_on.set()
    wait_until(lambda: state_of(FIRST) == "ACTIVE", "the HSM to serve")
    assert not HsmOnPreviousPassword.objects.exists()
    key_id = create_key()
    assert opens_on(FIRST, key_id) and opens_on(SECOND, key_id)


def test_a_refused_password_is_not_tried_again_until_the_user_is_locked(installation: Path) -> None:
    """Somebody changes kmsuser's password behind the service's back: one try an HSM, and never the fifth."""
    store = CustomKeyStore.objects.select_related("credential__cluster").get(custom_key_store_id=demo.KEY_STORE_ID)
    right = credentials.current_password(store.credential)
    for hsm_id in (FIRST, SECOND):
        with logged_in(hsm_id) as hsm:
            hsm.call("change_password", {"user": "kmsuser", "password": "Another1Password"}, deadline_seconds=5)
            hsm.call("end_client", {"client": credentials.client_name(store.credential)}, deadline_seconds=5)
    for _ in range(3):
        with pytest.raises(KMSInvalidStateException, match="cannot communicate"):
            encrypt(demo.KEY_ID, b"x")
    # Not locked: the right password still opens the door, which it would not for a locked user.
    credentials.set_password(store.credential, "Another1Password")
    for hsm_id in (FIRST, SECOND):
        with logged_in(hsm_id) as hsm:
            hsm.call("change_password", {"user": "kmsuser", "password": right}, deadline_seconds=5)
    credentials.set_password(store.credential, right)
    wait_until(lambda: encrypt(demo.KEY_ID, b"x"), "encryption to work again")


def test_an_encryption_context_that_is_too_large_is_a_validation_error(installation: Path) -> None:
    largest = {"k": "v" * (8192 - len('{"k":""}'))}
    blob = encrypt(demo.KEY_ID, b"x", EncryptionContext=largest)
    assert decrypt(blob, EncryptionContext=largest) == b"x"
    many = {f"{number:x}": "" for number in range(850)}
    assert decrypt(encrypt(demo.KEY_ID, b"x", EncryptionContext=many), EncryptionContext=many) == b"x"
    for size in (8193, 17_000, 100_000):
        for use in (
            lambda context: encrypt(demo.KEY_ID, b"x", EncryptionContext=context),
            lambda context: decrypt(blob, EncryptionContext=context),
            lambda context: call("GenerateDataKey", KeyId=demo.KEY_ID, KeySpec="AES_256", EncryptionContext=context),
        ):
            with pytest.raises(ValidationException, match="8192 bytes at most"):
                use({"k": "v" * size})


def test_a_finish_after_a_crash_shows_the_key_it_made_whatever_happened_since(installation: Path) -> None:
    first = finish(alias="one", draft="draft-1")
    call("DisconnectCustomKeyStore", CustomKeyStoreId=demo.KEY_STORE_ID)
    again = finish(alias="two", draft="draft-1")
    assert again["KeyMetadata"]["KeyId"] == first["KeyMetadata"]["KeyId"]
    assert again["AliasName"] == "alias/one"


def test_a_finish_after_a_killed_one_is_not_kept_from_its_own_alias(installation: Path) -> None:
    cluster = CustomKeyStore.objects.get(custom_key_store_id=demo.KEY_STORE_ID).cluster
    now = clock.now()
    left = KeyIntent.objects.create(
        cluster=cluster,
        label=f"arn:aws:kms:{demo.REGION}:{demo.ACCOUNT}:key/99999999-9999-4999-8999-999999999999",
        backing_key_id="ab" * 32,
        reserves=f"arn:aws:kms:{demo.REGION}:{demo.ACCOUNT}:alias/mine",
        requested_by="draft-1",
        created_at=now,
        deadline=now + datetime.timedelta(seconds=30),
    )
    with pytest.raises(AlreadyExistsException):
        finish(alias="mine", draft="draft-1")
    KeyIntent.objects.filter(pk=left.pk).update(deadline=now)
    assert finish(alias="mine", draft="draft-1")["AliasName"] == "alias/mine"


def test_a_connect_that_was_overtaken_by_another_changes_nothing(
    installation: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connects and is held up after the HSMs took its password; B disconnects and connects; A goes on."""
    key_id = create_key()
    call("DisconnectCustomKeyStore", CustomKeyStoreId=demo.KEY_STORE_ID)
    held, go_on = threading.Event(), threading.Event()
    change_over = credentials._change_over

    def hold(credential: ClusterCredential) -> set[str]:
        changed = change_over(credential)
        if credential.pending_password_sealed is not None and not held.is_set():
            held.set()
            go_on.wait(30)
        return changed

    def connect() -> None:
        try:
            call("ConnectCustomKeyStore", CustomKeyStoreId=demo.KEY_STORE_ID)
        finally:
            connection.close()

    monkeypatch.setattr(credentials, "_change_over", hold)
    overtaken = threading.Thread(target=connect)
    overtaken.start()
    assert held.wait(30)
    call("DisconnectCustomKeyStore", CustomKeyStoreId=demo.KEY_STORE_ID)
    call("ConnectCustomKeyStore", CustomKeyStoreId=demo.KEY_STORE_ID)
    go_on.set()
    overtaken.join()
    assert call("DescribeCustomKeyStores")["CustomKeyStores"][0]["ConnectionState"] == "CONNECTED"
    assert opens_on(FIRST, key_id) and opens_on(SECOND, key_id)
    assert decrypt(encrypt(key_id, b"x")) == b"x"


def test_a_password_that_changes_again_while_an_hsm_gets_the_last_one_is_not_forgotten(installation: Path) -> None:
    hsm = Hsm.objects.select_related("cluster").get(hsm_id=FIRST)
    credential = ClusterCredential.objects.get(cluster=hsm.cluster, user_name="kmsuser")
    HsmOnPreviousPassword.objects.create(hsm=hsm, credential=credential)
    asked: list[str] = []

    class Meanwhile(Device):
        """Right after the HSM took the password, somebody else writes another one."""

        def ask(self, op: str, **args: Any) -> dict[str, Any]:
            asked.append(op)
            credentials.set_password(ClusterCredential.objects.get(pk=credential.pk), f"Another{len(asked)}Password")
            return {}

    resync._change_passwords(Meanwhile(hsm, Connection.__new__(Connection)))
    assert asked == ["change_password"]
    assert HsmOnPreviousPassword.objects.filter(hsm=hsm).exists()


def test_an_hsm_that_was_stopped_meanwhile_is_not_let_in(installation: Path) -> None:
    hsm = Hsm.objects.select_related("cluster").get(hsm_id=FIRST)
    hsms.stop(hsm)
    assert not hsms.let_in(hsm)
    wait_until(lambda: not running(FIRST, installation), "its process to end")
    assert state_of(FIRST) == "DEGRADED"


def running(hsm_id: str, folder: Path) -> bool:
    try:
        return bool(process_of(hsm_id, folder))
    except LookupError:
        return False


def test_whoever_switches_a_person_off_switches_their_access_keys_off(installation: Path) -> None:
    from kmsapp.iam import credentials as access_keys
    from kmsapp.models import AccessKey, User

    access_key = AccessKey.objects.select_related("user").get(user__user_name="bob")
    found = access_keys.find(access_key.access_key_id)
    assert found is not None and found.active
    person = User.objects.get(pk=access_key.user.pk)
    person.is_active = False
    person.save()
    found = access_keys.find(access_key.access_key_id)
    assert found is not None and not found.active
    access_key.delete()
    assert access_keys.find(access_key.access_key_id) is None
