"""The wizard's draft that a request is about, and the addresses of its steps."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

from django.http import Http404
from django.urls import reverse

from console import drafts
from console.models import KeyDraft
from console.requests import ConsoleRequest


def opened(request: ConsoleRequest, draft_id: UUID) -> KeyDraft:
    """Return the draft, and act in the Region it was begun in, whatever the selector says since."""
    draft = drafts.open_for(request.user, draft_id)
    if draft.account != request.caller.account:
        raise Http404("A draft of an account that the person doesn't act in")
    request.caller = replace(request.caller, region=draft.region)
    return draft


def address(draft: KeyDraft, slug: str) -> str:
    """Of a step."""
    return reverse("console:create-key-step", args=[draft.pk, slug])
