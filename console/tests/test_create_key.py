"""The wizard without a browser: drafts, steps, refusals. Whole walks in a browser are in test_browser_walk.py."""

from __future__ import annotations

import datetime
import html
import json
from dataclasses import dataclass
from typing import Any

import pytest
from django.http import HttpResponse
from django.test import Client

from console import drafts, steps
from console.forms.create_key import NO_STORE, NO_STORE_YET, SELECT_A_STORE
from console.models import KeyDraft
from console.testing import key_store, kms_key, new_account, person, signed_in_client
from hsmapp import clock
from hsmapp.models import Hsm, KeyIntent, MaskedKey
from kmsapp.models import CustomKeyStore, KmsKey, User

pytestmark = pytest.mark.django_db
CLOUDHSM = {"key_type": "symmetric", "key_usage": "ENCRYPT_DECRYPT", "origin": "AWS_CLOUDHSM", "regionality": "single"}


@dataclass
class Wizard:
    """Somebody in the wizard, with a key store that can be chosen."""

    user: User
    store: CustomKeyStore
    client: Client

    def begin(self) -> KeyDraft:
        answer = self.client.post("/keys/create/", CLOUDHSM)
        assert answer.status_code == 302, answer.content.decode()
        return KeyDraft.objects.get(pk=answer.headers["Location"].split("/")[3])

    def post(self, draft: KeyDraft, slug: str, go: str = "next", **fields: Any) -> Any:
        return self.client.post(f"/keys/create/{draft.pk}/{slug}/", {"go": go, **fields})

    def get(self, draft: KeyDraft, slug: str, query: str = "") -> Any:
        return self.client.get(f"/keys/create/{draft.pk}/{slug}/{query}")

    def at_review(self, alias: str = "payments") -> KeyDraft:
        draft = self.begin()
        self.post(draft, "key-store", custom_key_store_id=self.store.custom_key_store_id)
        self.post(draft, "labels", alias=alias, description="")
        self.post(draft, "tags", go="review")
        draft.refresh_from_db()
        assert steps.first_incomplete(drafts.Choices.of(draft)) == "review"
        return draft


@pytest.fixture
def wizard() -> Wizard:
    account = new_account()
    alice = person("alice", account=account)
    return Wizard(alice, key_store(account), signed_in_client(alice))


def choices_of(draft: KeyDraft) -> drafts.Choices:
    draft.refresh_from_db()
    return drafts.Choices.of(draft)


def leads_to(answer: HttpResponse) -> str:
    assert answer.status_code == 302, answer.content.decode()
    return answer.headers["Location"].split("?")[0].rstrip("/").split("/")[-1]


def test_looking_at_the_wizard_makes_no_draft_and_next_makes_one(wizard: Wizard) -> None:
    assert wizard.client.get("/keys/create/").status_code == 200
    assert KeyDraft.objects.count() == 0
    draft = wizard.begin()
    assert (draft.owner, draft.account, draft.region) == (wizard.user, wizard.store.account, "us-west-2")


WRONG_CONFIGURATIONS = {
    "no origin": {"origin": ""},
    "origin KMS is not built": {"origin": "AWS_KMS"},
    "imported key material": {"origin": "EXTERNAL"},
    "asymmetric": {"key_type": "asymmetric"},
    "HMAC": {"key_usage": "GENERATE_VERIFY_MAC"},
    "Multi-Region": {"regionality": "multi"},
}


@pytest.mark.parametrize("fields", WRONG_CONFIGURATIONS.values(), ids=WRONG_CONFIGURATIONS)
def test_configure_key_refuses_what_a_custom_key_store_cannot_hold(wizard: Wizard, fields: dict[str, str]) -> None:
    answer = wizard.client.post("/keys/create/", CLOUDHSM | fields)
    assert answer.status_code == 422
    assert "before you continue" in answer.content.decode()
    assert KeyDraft.objects.count() == 0


def test_steps_cannot_be_skipped(wizard: Wizard) -> None:
    draft = wizard.begin()
    for slug in [*steps.SLUGS[2:], "no-such-step"]:
        assert leads_to(wizard.get(draft, slug)) == "key-store", slug
    for slug in steps.SLUGS[2:]:
        assert leads_to(wizard.post(draft, slug)) == "key-store", slug
    assert KmsKey.objects.count() == KeyIntent.objects.count() == 0


STORES = {
    "disconnected": ({"state": "DISCONNECTED"}, "DISCONNECTED. Connect it first."),
    "connecting": ({"state": "CONNECTING"}, "CONNECTING. Wait until it is connected."),
    "disconnecting": ({"state": "DISCONNECTING"}, "DISCONNECTING. Wait until it is disconnected"),
    "failed": ({"state": "FAILED", "error_code": "INVALID_CREDENTIALS"}, "FAILED"),
    "one HSM": ({"zones": ("us-west-2a",)}, "1 of 2 required"),
    "two HSMs in one zone": ({"zones": ("us-west-2a", "us-west-2a")}, "1 of 2 required Availability Zones"),
    "no HSM": ({"zones": ()}, "0 of 2 required"),
}


@pytest.mark.parametrize(("fields", "reason"), STORES.values(), ids=STORES)
def test_a_key_store_that_cannot_be_used_says_why_and_is_refused(
    wizard: Wizard, fields: dict[str, Any], reason: str
) -> None:
    other = key_store(wizard.store.account, name="OtherStore", **fields)
    draft = wizard.begin()
    page = wizard.get(draft, "key-store").content.decode()
    radio = page[page.index(f'value="{other.custom_key_store_id}"') :].split(">")[0]
    assert "disabled" in radio
    assert reason in page
    answer = wizard.post(draft, "key-store", custom_key_store_id=other.custom_key_store_id)
    assert answer.status_code == 422
    assert reason in answer.content.decode()
    assert leads_to(wizard.get(draft, "labels")) == "key-store"


def test_next_without_a_key_store_says_what_can_be_done_about_it(wizard: Wizard) -> None:
    key_store(wizard.store.account, name="OtherStore")
    draft = wizard.begin()
    assert SELECT_A_STORE in wizard.post(draft, "key-store", custom_key_store_id="").content.decode()
    CustomKeyStore.objects.update(connection_state="DISCONNECTED")
    page = wizard.post(draft, "key-store", custom_key_store_id="").content.decode()
    assert NO_STORE_YET in page and SELECT_A_STORE not in page
    CustomKeyStore.objects.all().delete()
    assert NO_STORE in wizard.post(draft, "key-store", custom_key_store_id="").content.decode()


def test_another_accounts_key_store_cannot_be_chosen(wizard: Wizard) -> None:
    foreign = key_store(new_account(), name="ForeignStore")
    draft = wizard.begin()
    assert "ForeignStore" not in wizard.get(draft, "key-store").content.decode()
    answer = wizard.post(draft, "key-store", custom_key_store_id=foreign.custom_key_store_id)
    assert answer.status_code == 422


ALIASES = {
    "empty": ("", "Alias is required."),
    "reserved": ("aws/payments", "begin with aws/"),
    "space": ("a b", "letters, numbers"),
    "too long": ("a" * 251, "1 to 250"),
    "markup": ("<script>", "letters, numbers"),
    "taken": ("taken", "already in use"),
}


@pytest.mark.parametrize(("alias", "sentence"), ALIASES.values(), ids=ALIASES)
def test_a_wrong_alias_is_refused_by_the_step_and_by_the_live_check(wizard: Wizard, alias: str, sentence: str) -> None:
    kms_key(wizard.store, alias="taken")
    draft = wizard.begin()
    wizard.post(draft, "key-store", custom_key_store_id=wizard.store.custom_key_store_id)
    answer = wizard.post(draft, "labels", alias=alias, description="kept")
    assert answer.status_code == 422
    page = answer.content.decode()
    assert sentence in page and "kept" in page and "<script>" not in page.split("console.js")[1]
    assert sentence in wizard.client.get("/keys/create/alias-check/", {"alias": alias}).content.decode()
    assert leads_to(wizard.get(draft, "review")) == "labels"


def test_tags_are_checked_and_rows_are_added_and_removed(wizard: Wizard) -> None:
    draft = wizard.begin()
    wizard.post(draft, "key-store", custom_key_store_id=wizard.store.custom_key_store_id)
    wizard.post(draft, "labels", alias="tagged")
    assert leads_to(wizard.post(draft, "tags", go="add")) == "tags"
    wizard.post(draft, "tags", go="add", tag_key=["Team"], tag_value=["core"])
    assert choices_of(draft).tags == [["Team", "core"], ["", ""]]
    wrong = {
        "twice": (["a", "a"], ["1", "2"], "unique tag key"),
        "value without key": ([""], ["1"], "Tag key is required."),
        "reserved": (["aws:x"], [""], "Tags beginning with aws: are reserved"),
        "reserved in capitals": (["AWS:x"], ["v"], "Tags beginning with aws: are reserved"),
        "key too long": (["k" * 129], [""], "1 to 128"),
        "value too long": (["k"], ["v" * 257], "256 characters or fewer"),
        "key with markup": (["<b>"], [""], "The tag key &lt;b&gt; has other characters than letters"),
        "value with a semicolon": (["k"], ["a;b"], "The value of the tag k has other characters than letters"),
        "value with a hard space": (["k"], ["a\u00a0b"], "The value of the tag k has other characters than letters"),
        "too many": ([f"k{n}" for n in range(51)], ["v"] * 51, "up to 50 tags"),
    }
    for case, (keys, values, sentence) in wrong.items():
        answer = wizard.post(draft, "tags", tag_key=keys, tag_value=values)
        assert answer.status_code == 422, case
        assert sentence in answer.content.decode(), case
    page = wizard.post(draft, "tags", tag_key=["k!", "l"], tag_value=["v", "w!"]).content.decode()
    for row, part in ((0, "key"), (1, "value")):
        other = {"key": "value", "value": "key"}[part]
        assert f'aria-describedby="id_tag_{part}_{row}_problem" aria-invalid="true"' in page
        assert f'aria-describedby="id_tag_{other}_{row}_problem">' in page, "only the field at fault is marked"
    wizard.post(draft, "tags", go="remove:0", tag_key=["a", "b"], tag_value=["1", "2"])
    assert choices_of(draft).tags == [["b", "2"]]
    for nonsense in ("remove:9", "remove:x", "remove:", "remove:-1"):
        wizard.post(draft, "tags", go=nonsense, tag_key=["b"], tag_value=["2"])
        assert choices_of(draft).tags == [["b", "2"]], nonsense
    assert leads_to(wizard.post(draft, "tags", tag_key=["b", ""], tag_value=["2", ""])) == "administrators"
    draft.refresh_from_db()
    assert drafts.parameters(draft)["Tags"] == [{"TagKey": "b", "TagValue": "2"}]


def test_selected_people_survive_paging_finding_and_going_back(wizard: Wizard) -> None:
    account = wizard.store.account
    people = [person(f"person{number:02}", account=account) for number in range(25)]
    draft = wizard.at_review()
    first, second = people[0].arn, people[12].arn
    shown = [wizard.user.arn, *(user.arn for user in people[:9])]
    wizard.post(draft, "administrators", go="page:2", shown=shown, principal=[first], administrators_may_delete="on")
    page = wizard.get(draft, "administrators", "?page=2").content.decode()
    assert second in page and first not in page
    wizard.post(draft, "administrators", go="find", q="PERSON2", shown=[second], principal=[second])
    assert choices_of(draft).administrators == [first, second]
    assert choices_of(draft).administrators_may_delete is False
    found = wizard.get(draft, "administrators", "?q=PERSON2").content.decode()
    assert "5 matches" in found
    foreign = person("mallory", account=new_account()).arn
    wizard.post(draft, "administrators", go="previous", shown=[first], principal=[foreign])
    assert choices_of(draft).administrators == [second], "one unticked, a foreign one never taken"


def test_other_accounts_are_twelve_digits_of_somebody_else(wizard: Wizard) -> None:
    draft = wizard.at_review()
    wrong = {"1234": "12 digits", wizard.store.account: "your own account", "<b>": "12 digits"}
    for number, sentence in wrong.items():
        answer = wizard.post(draft, "users", other_account=[number])
        assert answer.status_code == 422, number
        assert sentence in answer.content.decode(), number
    assert leads_to(wizard.post(draft, "users", other_account=["4444-5555-6666", ""])) == "policy"
    draft.refresh_from_db()
    assert "arn:aws:iam::444455556666:root" in drafts.parameters(draft)["Policy"]


ALLOW_ALL = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "kms:*", "Resource": "*"}
POLICIES = {
    "empty": (" \n", "Enter a key policy"),
    "missing comma": ('{\n  "Version": "2012-10-17"\n  "Statement": []\n}', "Line 3, column 3"),
    "not an object": ("[]", "must be a JSON object"),
    "an empty object": ("{}", "must have a Statement"),
    "no statement": ('{"Statement": []}', "must have a Statement"),
    "a text for a statement": ('{"Statement": "x"}', "must have a Statement"),
    "texts for statements": ('{"Statement": ["x"]}', "Statement 1 of the key policy must be a JSON object"),
    "neither allows nor denies": (
        json.dumps({"Statement": [ALLOW_ALL, {}]}),
        "Statement 2 of the key policy must have",
    ),
    "a statement about nobody": (
        json.dumps({"Statement": [{"Effect": "Allow", "Action": "kms:*", "Resource": "*"}]}),
        "Policy contains a statement with no principal.",
    ),
    "a statement with an empty list of people": (
        json.dumps({"Statement": [ALLOW_ALL | {"Principal": {"AWS": []}}]}),
        "Policy contains a statement with no principal.",
    ),
    "a member twice": (
        '{"Version": "2012-10-17",\n "Version": "2012-10-17"}',
        'Line 2, column 2: "Version" stands twice',
    ),
    "an unknown operator": (
        json.dumps({"Statement": [ALLOW_ALL | {"Condition": {"StringIs": {"aws:username": "alice"}}}]}, indent=1),
        "Line 11, column 5: There is no condition operator 'StringIs'.",
    ),
    "a group as principal": (
        json.dumps({"Statement": [ALLOW_ALL | {"Principal": {"AWS": "arn:aws:iam::111122223333:group/ops"}}]}),
        "Policy contains a statement with one or more invalid principals. Line 1, column 50: arn:aws:iam::",
    ),
    "a statement without Resource": (
        json.dumps({"Statement": [{"Effect": "Allow", "Principal": "*", "Action": "kms:*"}]}),
        "Statement 1 has no Resource, and so no effect.",
    ),
    "NaN": ('{"a": NaN}', "NaN is no JSON value"),
    "a number of 5,000 digits": ('{"a": ' + "1" * 5000 + "}", "a number that is too long"),
    "100,000 nested brackets": ('{"a":' + "[" * 100_000, "larger than 32768 bytes"),
    "20,000 nested brackets": ('{"a":' + "[" * 20_000, "nested too deeply"),
    "too long": (json.dumps({"a": "x" * 40_000}), "larger than 32768 bytes"),
    "typographic quotation marks": (
        json.dumps({"Statement": [ALLOW_ALL | {"Sid": "“all”"}]}, ensure_ascii=False),
        "characters beyond U+00FF",
    ),
}


def unescaped(answer: Any) -> str:
    return html.unescape(answer.content.decode())


@pytest.mark.parametrize(("text", "sentence"), POLICIES.values(), ids=POLICIES)
def test_what_is_no_policy_is_refused_by_the_step_and_by_the_live_check(
    wizard: Wizard, text: str, sentence: str
) -> None:
    draft = wizard.at_review()
    answer = wizard.post(draft, "policy", policy=text)
    assert answer.status_code == 422
    assert sentence in unescaped(answer)
    status = unescaped(wizard.client.post("/keys/create/policy-check/", {"policy": text}))
    assert sentence in status and "status-error" in status
    assert "Exceeds the limit" not in status and "recursion" not in status, "Python's own words"
    assert leads_to(wizard.get(draft, "review")) == "policy"


def test_a_policy_that_one_statement_makes_is_taken(wizard: Wizard) -> None:
    draft = wizard.at_review()
    text = json.dumps({"Statement": ALLOW_ALL})
    assert leads_to(wizard.post(draft, "policy", policy=text)) == "review"
    assert "JSON is valid" in unescaped(wizard.client.post("/keys/create/policy-check/", {"policy": text}))


def test_a_policy_that_the_choices_make_too_long_is_refused_too(wizard: Wizard) -> None:
    draft = wizard.at_review()
    people = [person(f"{number:03}" + "x" * 60, account=wizard.store.account).arn for number in range(300)]
    wizard.post(draft, "administrators", principal=people)
    built = choices_of(draft).policy(wizard.store.account)
    answer = wizard.post(draft, "policy", policy=built)
    assert answer.status_code == 422
    assert "larger than 32768 bytes" in unescaped(answer)


def test_the_policy_follows_the_choices_until_it_is_edited(wizard: Wizard) -> None:
    draft = wizard.at_review()
    shown: dict[str, Any] = {"shown": [wizard.user.arn], "administrators_may_delete": "on"}
    wizard.post(draft, "administrators", principal=[wizard.user.arn], **shown)
    built = choices_of(draft).policy(wizard.store.account)
    assert wizard.user.arn in built
    wizard.post(draft, "policy", policy=built.replace("\n", "\r\n"))
    assert choices_of(draft).edited_policy == "", "sent back as it was shown"
    edited = json.dumps({"Version": "2012-10-17", "Statement": [ALLOW_ALL]})
    wizard.post(draft, "policy", policy=edited)
    wizard.post(draft, "administrators", **shown)
    choices = choices_of(draft)
    assert choices.policy(wizard.store.account) == edited
    assert choices.policy_is_outdated(wizard.store.account)
    assert "after you edited" in wizard.get(draft, "review").content.decode()
    wizard.post(draft, "policy", go="reset", policy=edited)
    assert wizard.user.arn not in choices_of(draft).policy(wizard.store.account)


def test_previous_loses_nothing_even_when_it_is_wrong(wizard: Wizard) -> None:
    draft = wizard.begin()
    wizard.post(draft, "key-store", custom_key_store_id=wizard.store.custom_key_store_id)
    assert leads_to(wizard.post(draft, "labels", go="previous", alias="aws/x", description="long story")) == "key-store"
    page = wizard.get(draft, "labels").content.decode()
    assert 'value="aws/x"' in page and "long story" in page


def test_two_tabs_do_not_mix(wizard: Wizard) -> None:
    one, two = wizard.at_review("one"), wizard.at_review("two")
    wizard.post(one, "labels", alias="one-changed")
    assert (choices_of(one).alias, choices_of(two).alias) == ("one-changed", "two")


def test_a_draft_is_its_owners_only(wizard: Wizard) -> None:
    draft = wizard.at_review()
    other = signed_in_client(person("bob", account=wizard.store.account))
    for path in ("labels/", "review/", "cancel/", "progress/", "progress/check/"):
        assert other.get(f"/keys/create/{draft.pk}/{path}").status_code == 404, path
    for path in ("labels/", "review/", "cancel/"):
        assert other.post(f"/keys/create/{draft.pk}/{path}", {"go": "finish"}).status_code == 404, path
    assert KeyDraft.objects.filter(pk=draft.pk, state="draft").exists()


def break_nothing(wizard: Wizard) -> None:
    """The store is there; only the alias is taken."""
    kms_key(wizard.store, alias="payments")


def disconnect(wizard: Wizard) -> None:
    CustomKeyStore.objects.update(connection_state="DISCONNECTED")


def stop_an_hsm(wizard: Wizard) -> None:
    Hsm.objects.filter(availability_zone="us-west-2b").update(state="DEGRADED")


def remove_the_store(wizard: Wizard) -> None:
    CustomKeyStore.objects.all().delete()


MEANWHILE = {
    "the alias is taken": (break_nothing, "AlreadyExistsException", "enter another alias"),
    "the key store is disconnected": (disconnect, "CustomKeyStoreInvalidStateException", "Once it is connected"),
    "an HSM stops": (stop_an_hsm, "CloudHsmClusterInvalidConfigurationException", "Once two HSMs are active"),
    "the key store is deleted": (remove_the_store, "CustomKeyStoreNotFoundException", "select another one"),
}


@pytest.mark.parametrize(("happens", "code", "remedy"), MEANWHILE.values(), ids=MEANWHILE)
def test_a_failed_finish_keeps_the_draft_and_says_what_to_do(
    wizard: Wizard, happens: Any, code: str, remedy: str
) -> None:
    draft = wizard.at_review()
    before = choices_of(draft)
    happens(wizard)
    keys = KmsKey.objects.count()
    answer = wizard.post(draft, "review", go="finish")
    assert answer.status_code == 400
    for page in (answer.content.decode(), wizard.get(draft, "review").content.decode()):
        assert "The key wasn&#x27;t created." in page or "The key wasn't created." in page
        assert code in page and remedy in page and "/help/" in page
    assert choices_of(draft) == before
    assert (draft.state, KmsKey.objects.count(), KeyIntent.objects.filter(state="open").count()) == ("draft", keys, 0)


def test_a_draft_that_finish_works_on_can_be_neither_changed_nor_claimed(wizard: Wizard) -> None:
    draft = wizard.at_review()
    assert drafts.claim(draft)
    assert not drafts.claim(draft)
    assert leads_to(wizard.post(draft, "review", go="finish")) == "progress"
    assert leads_to(wizard.post(draft, "labels", alias="other")) == "progress"
    assert choices_of(draft).alias == "payments"
    page = wizard.client.get(f"/keys/create/{draft.pk}/progress/").content.decode()
    assert "Creating the key" in page and 'http-equiv="refresh"' in page
    wizard.client.post(f"/keys/create/{draft.pk}/cancel/")
    assert KeyDraft.objects.filter(pk=draft.pk).exists()


def test_finish_uses_what_another_tab_saved_last(wizard: Wizard) -> None:
    draft = wizard.at_review()
    wizard.post(draft, "labels", alias="changed-in-the-other-tab")
    assert drafts.claim(draft)
    assert drafts.parameters(draft)["AliasName"] == "alias/changed-in-the-other-tab"


def test_after_the_session_ended_the_wizard_goes_on_where_it_was(wizard: Wizard) -> None:
    draft = wizard.at_review()
    wizard.client.logout()
    address = f"/keys/create/{draft.pk}/review/"
    assert wizard.post(draft, "review", go="finish").headers["Location"] == f"/sign-in/?next={address}"
    htmx = {"HX-Request": "true", "HX-Current-URL": f"http://testserver{address}"}
    answer = wizard.client.get("/keys/create/alias-check/?alias=x", headers=htmx)
    assert answer.headers["HX-Redirect"] == f"/sign-in/?next={address}"
    assert wizard.client.post("/region/", {"region": "eu-west-1"}).headers["Location"] == "/sign-in/?next=/"
    wizard.client.force_login(wizard.user)
    assert "payments" in wizard.client.get(address).content.decode()


def test_a_claim_whose_worker_died_may_be_taken_after_its_time(wizard: Wizard) -> None:
    draft = wizard.at_review()
    assert drafts.claim(draft)
    long_ago = draft.claimed_at
    assert long_ago is not None
    long_ago -= datetime.timedelta(seconds=drafts.CLAIM_SECONDS + 1)
    KeyDraft.objects.filter(pk=draft.pk).update(claimed_at=long_ago)
    assert "Choose Finish again" in wizard.client.get(f"/keys/create/{draft.pk}/progress/").content.decode()
    late = KeyDraft.objects.get(pk=draft.pk)
    assert drafts.claim(late)
    # The first one wakes up: its failure is not the failure of the second.
    drafts.failed(draft, "KMSInternalException", "late")
    assert KeyDraft.objects.get(pk=draft.pk).state == "claimed"


def test_a_finished_draft_leads_to_its_key(wizard: Wizard) -> None:
    draft = wizard.at_review()
    key = kms_key(wizard.store, alias="payments")
    drafts.claim(draft)
    drafts.made(draft, key.key_id, "payments")
    assert leads_to(wizard.post(draft, "review", go="finish")) == "progress"
    assert leads_to(wizard.get(draft, "review")) == "progress"
    page = wizard.client.get(f"/keys/create/{draft.pk}/progress/", follow=True).content.decode()
    assert f"Success: Your AWS KMS key was created with alias payments and key ID {key.key_id}" in page


def test_a_finish_that_gives_back_the_key_of_an_earlier_one_names_its_alias(wizard: Wizard) -> None:
    draft = wizard.at_review("second")
    key = kms_key(wizard.store, alias="first")
    key.material = MaskedKey.objects.create(
        cluster=wizard.store.cluster,
        label=key.arn,
        backing_key_id="ab" * 32,
        owner="kmsuser",
        masked=b"",
        check_ciphertext=b"",
        created_at=clock.now(),
    )
    key.save()
    KeyIntent.objects.create(
        cluster=wizard.store.cluster,
        label=key.arn,
        backing_key_id="ab" * 32,
        state="done",
        requested_by=str(draft.pk),
        created_at=clock.now(),
        deadline=clock.now(),
    )
    assert leads_to(wizard.post(draft, "review", go="finish")) == "keys"
    success = f"Success: Your AWS KMS key was created with alias first and key ID {key.key_id}"
    assert success in unescaped(wizard.client.get("/keys/"))
    assert success in unescaped(wizard.client.get(f"/keys/create/{draft.pk}/progress/", follow=True))
    assert KmsKey.objects.count() == 1


def test_cancel_asks_and_then_throws_the_draft_away(wizard: Wizard) -> None:
    draft = wizard.begin()
    assert "Leave the wizard" in wizard.client.get(f"/keys/create/{draft.pk}/cancel/").content.decode()
    assert KeyDraft.objects.filter(pk=draft.pk).exists()
    assert wizard.client.post(f"/keys/create/{draft.pk}/cancel/").headers["Location"] == "/keys/"
    assert not KeyDraft.objects.filter(pk=draft.pk).exists()


def test_a_draft_acts_in_the_region_it_was_begun_in(wizard: Wizard) -> None:
    draft = wizard.begin()
    wizard.client.post("/region/", {"region": "eu-west-1"})
    page = wizard.get(draft, "key-store").content.decode()
    assert wizard.store.custom_key_store_id in page
