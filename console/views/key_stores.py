"""Custom key stores: the table, one store, connecting and disconnecting."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_safe

from console import reauthentication
from console.lookups import Lookups
from console.pages import page
from console.reauthentication import Proof
from console.refusals import status_of
from console.remedies import remedy
from console.requests import ConsoleRequest, signed_in
from console.statuses import CONNECTION_ERRORS
from kmsapp import dispatch
from kmsapp.errors import AccessDeniedException, KmsError

CRUMB = "Custom key stores"
BUSY = {"CONNECTING", "DISCONNECTING"}
# What each action is allowed in, and why not otherwise.
# https://docs.aws.amazon.com/kms/latest/APIReference/API_ConnectCustomKeyStore.html and DisconnectCustomKeyStore.
CONNECT_REFUSED = {
    "CONNECTED": "The key store is connected already.",
    "CONNECTING": "The key store is being connected.",
    "DISCONNECTING": "Wait until the key store is disconnected.",
    "FAILED": "Disconnect the key store first, and then connect it again.",
}
DISCONNECT_REFUSED = {
    "DISCONNECTED": "The key store is disconnected already.",
    "DISCONNECTING": "The key store is being disconnected.",
}
# A connected store can be renamed, and nothing else of it changed. API_UpdateCustomKeyStore.
EDIT_REFUSED = {
    "CONNECTING": "Wait until the key store is connected, or disconnect it.",
    "DISCONNECTING": "Wait until the key store is disconnected.",
    "FAILED": "Disconnect the key store before you edit it.",
}
ACTIONS = {"connect", "disconnect", "edit", "delete"}


@require_safe
@signed_in
def key_stores(request: ConsoleRequest) -> HttpResponse:
    denied = ""
    try:
        table = _table(request)
    except AccessDeniedException as error:
        denied, table = error.message, {"stores": [], "busy": False}
    return page(
        request,
        "key_stores/list.html",
        title=CRUMB,
        crumbs=[(CRUMB, "")],
        section="key-stores",
        status=403 if denied else 200,
        denied=denied,
        **table,
    )


@require_safe
@signed_in
def key_stores_table(request: ConsoleRequest) -> HttpResponse:
    """The table alone, for the refresh while a store is connecting."""
    return render(request, "console/key_stores/_table.html", _table(request))


@require_safe
@signed_in
def key_stores_choose(request: ConsoleRequest) -> HttpResponse:
    """Key store actions: lead from the selected row to the page that asks for confirmation, or say why not."""
    store = Lookups(request.caller).key_store(request.GET.get("store", ""))
    action = request.GET.get("action", "")
    if store is None or action not in ACTIONS:
        messages.error(request, "Select a key store, and then choose an action.")
        return redirect("console:key-stores")
    refused = with_actions(store)[f"{action.title()}Refused"]
    if refused:
        messages.error(request, f"{store['CustomKeyStoreName']}: {refused}")
        return redirect("console:key-stores")
    return redirect(f"console:key-store-{action}", store["CustomKeyStoreId"])


def _table(request: ConsoleRequest) -> dict[str, Any]:
    stores = [with_actions(store) for store in Lookups(request.caller).key_stores]
    return {"stores": stores, "busy": any(store["ConnectionState"] in BUSY for store in stores)}


@require_safe
@signed_in
def key_store(request: ConsoleRequest, store_id: str) -> HttpResponse:
    store = store_of(request, store_id)
    return page(
        request,
        "key_stores/detail.html",
        title=store["CustomKeyStoreName"],
        crumbs=[(CRUMB, reverse("console:key-stores")), (store["CustomKeyStoreName"], "")],
        section="key-stores",
        store=store,
        busy=store["ConnectionState"] in BUSY,
        findings=Lookups(request.caller).findings(store["CloudHsmClusterId"]),
    )


@require_safe
@signed_in
def key_store_state(request: ConsoleRequest, store_id: str) -> HttpResponse:
    """The changing part of the store's page, for the refresh while it is connecting."""
    store = store_of(request, store_id)
    return render(request, "console/key_stores/_state.html", {"store": store, "busy": store["ConnectionState"] in BUSY})


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def connect(request: ConsoleRequest, store_id: str) -> HttpResponse:
    return _confirm(request, store_id, "connect")


@sensitive_post_parameters(reauthentication.FIELD)
@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def disconnect(request: ConsoleRequest, store_id: str) -> HttpResponse:
    return _confirm(request, store_id, "disconnect", reauthentication.proof_of(request))


def _confirm(
    request: ConsoleRequest, store_id: str, action: str, proof: Proof = reauthentication.NOT_NEEDED
) -> HttpResponse:
    """Ask, then call; a refusal is shown with what to do."""
    store = store_of(request, store_id)
    error: KmsError | None = None
    if request.method == "POST" and not proof.is_asked:
        try:
            dispatch.call(request.caller, f"kms:{action.title()}CustomKeyStore", {"CustomKeyStoreId": store_id})
        except KmsError as refused:
            error = refused
        else:
            messages.info(request, f"{action.title()}ing {store['CustomKeyStoreName']} has begun.")
            return redirect("console:key-store", store_id)
    title = f"{action.title()} key store"
    return page(
        request,
        f"key_stores/{action}.html",
        title=title,
        crumbs=[
            (CRUMB, reverse("console:key-stores")),
            (store["CustomKeyStoreName"], reverse("console:key-store", args=[store_id])),
            (title, ""),
        ],
        section="key-stores",
        status=status_of(error) if error else proof.status,
        store=store,
        proof=proof,
        error=error,
        remedy=remedy(error.code) if error else None,
    )


def store_of(request: ConsoleRequest, store_id: str) -> dict[str, Any]:
    """The store as pages show it. Raises Http404."""
    store = Lookups(request.caller).key_store(store_id)
    if store is None:
        raise Http404("No such key store in this account and Region")
    return with_actions(store)


def with_actions(store: dict[str, Any]) -> dict[str, Any]:
    """Add why an action can't be chosen now (empty: it can) and what a failed connection needs."""
    state = store["ConnectionState"]
    return store | {
        "ConnectRefused": CONNECT_REFUSED.get(state, ""),
        "DisconnectRefused": DISCONNECT_REFUSED.get(state, ""),
        "EditRefused": EDIT_REFUSED.get(state, ""),
        "DeleteRefused": _delete_refused(store),
        "FailureRemedy": CONNECTION_ERRORS.get(store.get("ConnectionErrorCode", ""), ""),
    }


def _delete_refused(store: dict[str, Any]) -> str:
    """https://docs.aws.amazon.com/kms/latest/APIReference/API_DeleteCustomKeyStore.html"""
    is_disconnected, keys = store["ConnectionState"] == "DISCONNECTED", store["KeyCount"]
    first = "" if is_disconnected else "Disconnect the key store first."
    if not keys:
        return first
    whose = f"its {keys} KMS keys are" if keys > 1 else "its KMS key is"
    return f"It can be deleted when {whose}. {first}".strip()
