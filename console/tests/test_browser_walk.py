"""The scope document's procedure in a real browser, once with JavaScript and once without."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from console.tests import walk
from kmsapp.testing import Casemate


@pytest.fixture(params=[True, False], ids=["with JavaScript", "without JavaScript"])
def watched(request: pytest.FixtureRequest, browser: Browser, casemate: Casemate) -> Iterator[walk.Watched]:
    yield from open_page(browser, casemate, java_script=request.param)


@pytest.fixture
def scripted(browser: Browser, casemate: Casemate) -> Iterator[walk.Watched]:
    yield from open_page(browser, casemate, java_script=True)


def open_page(browser: Browser, casemate: Casemate, **options: Any) -> Iterator[walk.Watched]:
    java_script = options.pop("java_script")
    context = browser.new_context(
        java_script_enabled=java_script,
        **{"viewport": {"width": 1440, "height": 900}, "color_scheme": "light", **options},
    )
    try:
        watched = walk.watch(context, casemate, java_script=java_script)
        yield watched
        assert watched.faults == []
        print(f"{len(watched.checked)} pages checked by axe")
    finally:
        context.close()


def test_create_a_kms_key_in_a_custom_key_store_as_the_document_says(watched: walk.Watched, casemate: Casemate) -> None:
    alias = "walk-with-script" if watched.java_script else "walk-without-script"
    walk.step_01_sign_in_to_the_console(watched)
    walk.step_02_change_the_region_with_the_selector_in_the_upper_right_corner(watched)
    walk.step_03_choose_customer_managed_keys_in_the_navigation_pane(watched)
    walk.step_04_choose_create_key(watched)
    walk.step_05_choose_symmetric(watched)
    walk.step_06_choose_advanced_options(watched)
    walk.step_07_for_key_material_origin_choose_custom_key_store_cloudhsm(watched)
    walk.step_08_choose_next(watched)
    walk.step_09_select_a_custom_key_store(watched)
    walk.step_10_choose_next(watched)
    walk.step_11_type_an_alias_and_an_optional_description(watched, alias)
    walk.step_12_on_the_add_tags_page_add_tags(watched)
    walk.step_13_choose_next(watched)
    walk.step_14_select_who_can_manage_the_key_under_key_administrators(watched)
    walk.step_15_clear_allow_key_administrators_to_delete_this_key(watched)
    walk.step_16_choose_next(watched)
    walk.step_17_select_who_can_use_the_key_under_this_account(watched)
    walk.step_18_add_another_aws_account(watched)
    walk.step_19_choose_next(watched)
    walk.step_20_review_the_key_settings(watched, alias)
    key_id = walk.step_21_choose_finish(watched, alias)
    walk.tip_add_the_custom_key_store_id_column_with_the_gear(watched)
    walk.the_detail_page_displays_origin_store_and_cluster(watched, alias, key_id)
    # The key of the page is the key of the API, and it works.
    kms = casemate.boto3("kms", "bob")
    metadata = kms.describe_key(KeyId=f"alias/{alias}")["KeyMetadata"]
    assert (metadata["KeyId"], metadata["Origin"], metadata["CustomKeyStoreId"]) == (
        key_id,
        "AWS_CLOUDHSM",
        walk.STORE_ID,
    )
    sealed = kms.encrypt(KeyId=key_id, Plaintext=b"first light")["CiphertextBlob"]
    assert kms.decrypt(CiphertextBlob=sealed)["Plaintext"] == b"first light"


def test_every_other_page_is_accessible_and_in_order(scripted: walk.Watched) -> None:
    walk.come_in(scripted)
    for name, path in OTHER_PAGES.items():
        scripted.goto(path)
        scripted.look(name)


OTHER_PAGES = {
    "key-stores": "/key-stores/",
    "key-store": f"/key-stores/{walk.STORE_ID}/",
    "key-store-connect": f"/key-stores/{walk.STORE_ID}/connect/",
    "key-store-disconnect": f"/key-stores/{walk.STORE_ID}/disconnect/",
    "clusters": "/clusters/",
    "cluster": f"/clusters/{walk.CLUSTER_ID}/",
    "keys-no-match": "/keys/?q=nothing-is-called-so",
    "preferences-page": "/keys/preferences/",
    "help": "/help/",
    "help-connecting": "/help/connecting-a-key-store/",
    "help-creating": "/help/creating-a-key-store/",
    "help-adding-an-hsm": "/help/adding-an-hsm/",
    "help-troubleshooting": "/help/troubleshooting-a-key-store/",
    "help-key-policies": "/help/key-policies/",
    "help-tags": "/help/tags/",
    "not-found": "/keys/00000000-0000-0000-0000-000000000000/",
}


def test_cancel_asks_before_anything_is_thrown_away(watched: walk.Watched) -> None:
    page = watched.page
    walk.come_in(watched)
    walk.fill_wizard(watched, "thrown-away")
    page.get_by_role("link", name="Cancel", exact=True).click()
    expect(watched.heading()).to_have_text("Leave the wizard")
    expect(page.get_by_role("button", name="Close navigation")).to_be_visible()
    watched.look("wizard-cancel")
    page.get_by_role("link", name="Keep editing").click()
    expect(watched.heading()).to_have_text("Review")
    expect(page.get_by_role("main")).to_contain_text("thrown-away")
    page.get_by_role("link", name="Cancel", exact=True).click()
    walk.press(watched, "Leave")
    expect(watched.heading()).to_contain_text("Customer managed keys")
    expect(page.get_by_role("link", name="thrown-away")).to_have_count(0)


@pytest.mark.parametrize(
    ("suffix", "options"),
    [("-dark", {"color_scheme": "dark"}), ("-narrow", {"viewport": {"width": 400, "height": 860}})],
    ids=["dark", "400 px"],
)
def test_pages_in_the_dark_and_at_400_px(
    browser: Browser, casemate: Casemate, suffix: str, options: dict[str, Any]
) -> None:
    for watched in open_page(browser, casemate, java_script=True, **options):
        walk.step_01_sign_in_to_the_console(watched, suffix=suffix)
        for name, path in {
            "keys": "/keys/",
            "key-cryptographic-configuration": f"/keys/{walk.KEY_ID}/?tab=cryptographic-configuration",
            "wizard-1-configure-key": "/keys/create/",
            "key-stores": "/key-stores/",
            "cluster": f"/clusters/{walk.CLUSTER_ID}/",
            "help-troubleshooting": "/help/troubleshooting-a-key-store/",
        }.items():
            watched.goto(path)
            watched.look(name, suffix=suffix)
        watched.page.get_by_role("link", name="Open navigation").or_(
            watched.page.get_by_role("button", name="Close navigation")
        ).click()
        watched.look("navigation", suffix=suffix)
        walk.fill_wizard(watched, f"look{suffix}")
        watched.look("wizard-8-review", suffix=suffix)


def test_at_400_px_every_tab_is_in_view_and_the_policy_scrolls_in_its_own_box(
    browser: Browser, casemate: Casemate
) -> None:
    for watched in open_page(browser, casemate, java_script=True, viewport={"width": 400, "height": 860}):
        page = watched.page
        walk.come_in(watched)
        watched.goto(f"/keys/{walk.KEY_ID}/")
        tabs = page.get_by_role("navigation", name="Key details").get_by_role("link")
        expect(tabs).to_have_text(["Key policy", "Cryptographic configuration", "Tags", "Aliases", "Policy simulator"])
        boxes = [tab.bounding_box() for tab in tabs.all()]
        assert all(box and box["x"] >= 0 and box["x"] + box["width"] <= 400 for box in boxes), boxes
        frame = page.get_by_role("region", name="Key policy JSON")
        assert frame.evaluate("frame => { frame.scrollLeft = 20; return frame.scrollLeft }") == 20
        expect(frame).to_have_attribute("tabindex", "0")  # so that the keyboard scrolls it too
        watched.look("key-policy", suffix="-narrow")
