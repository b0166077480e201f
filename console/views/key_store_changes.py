"""Creating, editing and deleting a custom key store, from its pages and from inside the create-key wizard.

From inside the wizard the way back leads to the draft, which then waits for the store.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from console import drafts, reauthentication
from console.drafts import Choices
from console.forms.key_stores import FIELD_OF, LABELS, Problems, StoreForm, read_changes, read_new
from console.lookups import Lookups
from console.models import KeyDraft
from console.pages import Crumb, page
from console.refusals import status_of
from console.remedies import remedy
from console.requests import ConsoleRequest, signed_in
from console.views.drafts import address, opened
from console.views.key_stores import CRUMB, store_of
from kmsapp import dispatch
from kmsapp.errors import KmsError

CREATE = "Create custom key store"
CHANGED = {
    "NewCustomKeyStoreName": "custom key store name",
    "CloudHsmClusterId": "CloudHSM cluster",
    "KeyStorePassword": "kmsuser password",
}


@dataclass(frozen=True)
class Origin:
    """Where the page was opened from: the wizard's draft, or the pages of key stores (None)."""

    draft: KeyDraft | None = None

    @property
    def section(self) -> str:
        return "wizard" if self.draft else "key-stores"

    def crumbs(self, title: str, store: dict[str, Any] | None = None) -> list[Crumb]:
        if self.draft:
            keys, step = reverse("console:keys"), address(self.draft, "key-store")
            return [("Customer managed keys", keys), ("Create key", step), (title, "")]
        crumbs = [(CRUMB, reverse("console:key-stores"))]
        if store:
            crumbs.append((store["CustomKeyStoreName"], reverse("console:key-store", args=[store["CustomKeyStoreId"]])))
        return [*crumbs, (title, "")]

    def back(self, store_id: str = "") -> str:
        """Where Cancel leads, and where one goes when the work is done."""
        if self.draft:
            return address(self.draft, "key-store")
        return reverse("console:key-store", args=[store_id]) if store_id else reverse("console:key-stores")


@sensitive_post_parameters("password")
@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def create(request: ConsoleRequest) -> HttpResponse:
    return _create(request, Origin())


@sensitive_post_parameters("password")
@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def create_for_draft(request: ConsoleRequest, draft_id: UUID) -> HttpResponse:
    return _create(request, Origin(opened(request, draft_id)))


def _create(request: ConsoleRequest, origin: Origin) -> HttpResponse:
    if request.method != "POST":
        return _show_create(request, origin, StoreForm())
    form, problems = read_new(request.POST, request.FILES)
    if problems:
        return _show_create(request, origin, form, problems)
    try:
        answer = dispatch.call(request.caller, "kms:CreateCustomKeyStore", form.parameters())
    except KmsError as error:
        return _show_create(request, origin, form, _problems_of(error), error)
    store_id: str = answer["CustomKeyStoreId"]
    if origin.draft:
        _choose(origin.draft, store_id)
    messages.success(request, f"{form.name} was created with ID {store_id}. Connect it to create KMS keys in it.")
    return HttpResponseRedirect(origin.back(store_id))


def _choose(draft: KeyDraft, store_id: str) -> None:
    """Let the draft wait for the store: the step is complete again once the store is connected and Next is chosen."""
    choices = Choices.of(draft)
    choices.custom_key_store_id = store_id
    choices.done = [slug for slug in choices.done if slug != "key-store"]
    drafts.save(draft, choices)


def _show_create(
    request: ConsoleRequest,
    origin: Origin,
    form: StoreForm,
    problems: Problems | None = None,
    error: KmsError | None = None,
) -> HttpResponse:
    clusters = Lookups(request.caller).clusters_to_bind()
    fit = [cluster["ClusterId"] for cluster in clusters if not cluster["UnfitBecause"]]
    return page(
        request,
        "key_stores/create.html",
        title=CREATE,
        crumbs=origin.crumbs(CREATE),
        section=origin.section,
        origin=origin,
        cancel=origin.back(),
        form=replace(form, password=""),
        enter_again=bool(form.password),
        clusters=clusters,
        selected=form.cluster_id or (fit[0] if len(fit) == 1 else ""),
        unfit=len(clusters) - len(fit),
        **_failure(problems, error),
    )


@sensitive_post_parameters("password")
@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def edit(request: ConsoleRequest, store_id: str) -> HttpResponse:
    return _edit(request, Origin(), store_id)


@sensitive_post_parameters("password")
@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def edit_for_draft(request: ConsoleRequest, draft_id: UUID, store_id: str) -> HttpResponse:
    return _edit(request, Origin(opened(request, draft_id)), store_id)


def _edit(request: ConsoleRequest, origin: Origin, store_id: str) -> HttpResponse:
    store = store_of(request, store_id)
    if request.method != "POST":
        return _show_edit(request, origin, store, StoreForm(name=store["CustomKeyStoreName"]))
    form, problems = read_changes(request.POST)
    if problems:
        return _show_edit(request, origin, store, form, problems)
    changes = form.changes(store)
    if changes:
        try:
            dispatch.call(request.caller, "kms:UpdateCustomKeyStore", {"CustomKeyStoreId": store_id, **changes})
        except KmsError as error:
            return _show_edit(request, origin, store, form, _problems_of(error), error)
        what = ", ".join(label for name, label in CHANGED.items() if name in changes)
        messages.success(request, f"{form.name} was changed: {what}.")
    else:
        messages.info(request, f"Nothing of {form.name} was changed.")
    return HttpResponseRedirect(origin.back(store_id))


def _show_edit(
    request: ConsoleRequest,
    origin: Origin,
    store: dict[str, Any],
    form: StoreForm,
    problems: Problems | None = None,
    error: KmsError | None = None,
) -> HttpResponse:
    title = "Edit custom key store"
    return page(
        request,
        "key_stores/edit.html",
        title=title,
        crumbs=origin.crumbs(title, store),
        section=origin.section,
        origin=origin,
        cancel=origin.back(store["CustomKeyStoreId"]),
        store=store,
        form=replace(form, password=""),
        enter_again=bool(form.password),
        clusters=Lookups(request.caller).clusters_to_bind(store["CustomKeyStoreId"]),
        selected=form.cluster_id or store["CloudHsmClusterId"],
        only_name=store["ConnectionState"] == "CONNECTED",
        **_failure(problems, error),
    )


def _problems_of(error: KmsError) -> Problems:
    """A refusal that is about one field stands beside it."""
    field = FIELD_OF.get(error.code)
    return {field: error.message} if field else {}


def _failure(problems: Problems | None, error: KmsError | None) -> dict[str, Any]:
    return {
        "problems": problems or {},
        "wrong": [(id, LABELS[id]) for id in problems or {}],
        "error": error,
        "remedy": remedy(error.code) if error else None,
        "status": status_of(error) if error else 422 if problems else 200,
    }


@sensitive_post_parameters(reauthentication.FIELD)
@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def delete(request: ConsoleRequest, store_id: str) -> HttpResponse:
    """Ask for the word confirm, and the password where it is long ago; a refusal is shown with what to do."""
    store = store_of(request, store_id)
    proof = reauthentication.proof_of(request)
    problems: Problems = {}
    error: KmsError | None = None
    if request.method == "POST" and not proof.is_asked:
        if request.POST.get("confirm", "").strip().lower() != "confirm":
            problems = {"id_confirm": "Enter confirm."}
        else:
            error = _deleted(request, store)
            if error is None:
                return HttpResponseRedirect(reverse("console:key-stores"))
    title = "Delete custom key store"
    return page(
        request,
        "key_stores/delete.html",
        title=title,
        crumbs=Origin().crumbs(title, store),
        section="key-stores",
        status=status_of(error) if error else 422 if problems else proof.status,
        store=store,
        problems=problems,
        proof=proof,
        error=error,
        remedy=remedy(error.code) if error else None,
    )


def _deleted(request: ConsoleRequest, store: dict[str, Any]) -> KmsError | None:
    """Delete the store; return why not."""
    try:
        dispatch.call(request.caller, "kms:DeleteCustomKeyStore", {"CustomKeyStoreId": store["CustomKeyStoreId"]})
    except KmsError as error:
        return error
    messages.success(request, f"{store['CustomKeyStoreName']} was deleted. Its CloudHSM cluster stays as it is.")
    return None
