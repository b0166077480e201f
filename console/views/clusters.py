"""CloudHSM clusters, to look at."""

from __future__ import annotations

from django.http import Http404, HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_safe

from console.lookups import Lookups
from console.pages import page
from console.requests import ConsoleRequest, signed_in
from console.topology import picture
from kmsapp.errors import AccessDeniedException

CRUMB = "Clusters"


@require_safe
@signed_in
def clusters(request: ConsoleRequest) -> HttpResponse:
    denied, found = "", []
    try:
        found = Lookups(request.caller).clusters
    except AccessDeniedException as error:
        denied = error.message
    return page(
        request,
        "clusters/list.html",
        title=CRUMB,
        crumbs=[("CloudHSM", ""), (CRUMB, "")],
        section="clusters",
        status=403 if denied else 200,
        denied=denied,
        clusters=[cluster | _counts(cluster) for cluster in found],
    )


def _counts(cluster: dict[str, object]) -> dict[str, object]:
    hsms = cluster.get("Hsms")
    assert isinstance(hsms, list)  # noqa: S101  an entry of DescribeClusters always has it
    return {
        "ActiveHsms": sum(hsm["State"] == "ACTIVE" for hsm in hsms),
        "AvailabilityZones": sorted({hsm["AvailabilityZone"] for hsm in hsms}),
    }


@require_safe
@signed_in
def cluster(request: ConsoleRequest, cluster_id: str) -> HttpResponse:
    lookups = Lookups(request.caller)
    found = lookups.cluster(cluster_id)
    if found is None:
        raise Http404("No such cluster in this account and Region")
    store = next((store for store in lookups.key_stores if store["CloudHsmClusterId"] == cluster_id), None)
    return page(
        request,
        "clusters/detail.html",
        title=cluster_id,
        crumbs=[("CloudHSM", ""), (CRUMB, reverse("console:clusters")), (cluster_id, "")],
        section="clusters",
        cluster=found,
        store=store,
        picture=picture(found),
        findings=lookups.findings(cluster_id),
    )
