"""The wizard's step Choose a custom key store: its table, and its own buttons beside each store.

A store that can't be used yet can be connected, mended or created from here; the draft keeps it as the choice, so that
it is selected as soon as a key can be made in it.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.html import format_html
from django.views.decorators.http import require_safe

from console import drafts
from console.drafts import Choices
from console.lookups import Lookups
from console.models import KeyDraft
from console.remedies import remedy
from console.requests import ConsoleRequest, signed_in
from console.statuses import CONNECTION_ERRORS
from console.views.drafts import address, opened
from kmsapp import dispatch
from kmsapp.errors import KmsError

SLUG = "key-store"
BUSY = {"CONNECTING", "DISCONNECTING"}
_CALLS = {"connect": "kms:ConnectCustomKeyStore", "disconnect": "kms:DisconnectCustomKeyStore"}
_PAGES = {"create-store": "console:create-key-store-create", "edit-store": "console:create-key-store-edit"}


def is_own_button(go: str) -> bool:
    return go.partition(":")[0] in {*_CALLS, *_PAGES}


def act(request: ConsoleRequest, draft: KeyDraft, choices: Choices, go: str) -> HttpResponse:
    """Carry out a button of the table, with what was selected kept."""
    name, _, store_id = go.partition(":")
    if not choices.custom_key_store_id:
        choices.custom_key_store_id = store_id[:64]
    if not drafts.save(draft, choices):
        return redirect("console:create-key-progress", draft.pk)
    if name in _PAGES:
        return redirect(_PAGES[name], draft.pk, *([store_id] if store_id else []))
    try:
        dispatch.call(request.caller, _CALLS[name], {"CustomKeyStoreId": store_id})
    except KmsError as error:
        messages.error(request, _refusal(error))
    return redirect(address(draft, SLUG))


def _refusal(error: KmsError) -> str:
    help = remedy(error.code)
    topic = reverse("console:help-topic", args=[help.topic])
    return format_html('<span>{} ({}) <a href="{}">{}</a></span>', error.message, error.code, topic, help.link_text)


@require_safe
@signed_in
def key_store_table(request: ConsoleRequest, draft_id: UUID) -> HttpResponse:
    """The table alone, for the refresh while a store is connecting. What is selected on the page stays selected."""
    choices = Choices.of(opened(request, draft_id))
    choices.custom_key_store_id = request.GET.get("custom_key_store_id", "") or choices.custom_key_store_id
    shown = context(choices, Lookups(request.caller)) | {"draft": {"pk": draft_id}, "out_of_band": True}
    return render(request, "console/create_key/_key_stores.html", shown)


def context(choices: Choices, lookups: Lookups) -> dict[str, Any]:
    """What the table shows. A choice that can't be used yet is waited for, so that nothing else is selected for it."""
    usable = [store for store in lookups.key_stores if not store["NotUsableBecause"]]
    chosen = lookups.key_store(choices.custom_key_store_id)
    if chosen is None and len(usable) == 1:
        chosen = usable[0]
    return {
        "stores": [
            store | {"FailureRemedy": CONNECTION_ERRORS.get(store.get("ConnectionErrorCode", ""), "")}
            for store in lookups.key_stores
        ],
        "unusable": len(lookups.key_stores) - len(usable),
        "selected": chosen["CustomKeyStoreId"] if chosen else "",
        "chosen": chosen,
        "busy": any(store["ConnectionState"] in BUSY for store in lookups.key_stores),
    }
