"""Pages of Django admin for CloudHSM: clusters, HSMs, and how far key material has come. The site is the console's.

Key material itself is shown nowhere: a masked key's page says whose it is and where, not what.
"""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db import models
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html

from hsmapp.account_admin import AccountAdmin, count_of, preformatted, pretty_json
from hsmapp.models import Cluster, Finding, Hsm, KeyIntent, MaskedKey, Reconciliation, Tombstone
from hsmapp.states import HsmState

CLUSTER_FILTER = ("cluster", admin.RelatedOnlyFieldListFilter)
RECONCILED = ("keys", "restored", "repaired", "destroyed", "quarantined", "cleared", "failed")


class ClusterAdmin(AccountAdmin):
    console_page = ("console:cluster", "cluster_id")
    list_display = ["cluster_id", "region", "state", "hsm_type", "hsms_active", "keys", "created_at"]
    list_filter = ["state", "region", "hsm_type"]
    search_fields = ["cluster_id", "vpc_id"]
    date_hierarchy = "created_at"
    fields = [
        "cluster_id",
        "arn",
        "account",
        "region",
        "state",
        "state_message",
        "hsm_type",
        "mode",
        "hsms_active",
        "keys",
        "vpc_id",
        "security_group",
        "subnets",
        "certificate_of_cluster",
        "customer_ca",
        "created_at",
    ]

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Any]:
        rows: models.QuerySet[Any] = (
            super()
            .get_queryset(request)
            .annotate(
                hsm_count=count_of(Hsm.objects.all(), by="cluster"),
                active_hsm_count=count_of(Hsm.objects.filter(state=HsmState.ACTIVE), by="cluster"),
                key_count=count_of(MaskedKey.objects.all(), by="cluster"),
            )
        )
        return rows

    @admin.display(description="active HSMs", ordering="active_hsm_count")
    def hsms_active(self, row: Any) -> str:
        text = f"{row.active_hsm_count} of {row.hsm_count}"
        return _list_link("hsmapp_hsm", row, text, label=f"HSMs of {row}")

    @admin.display(description="keys", ordering="key_count")
    def keys(self, row: Any) -> str:
        text = f"{row.key_count} of {row.capacity}"
        return _list_link("hsmapp_maskedkey", row, text, label=f"Keys of {row}")

    @admin.display(description="subnets")
    def subnets(self, row: Cluster) -> str:
        return pretty_json(row.subnet_mapping)

    @admin.display(description="cluster certificate")
    def certificate_of_cluster(self, row: Cluster) -> str:
        return preformatted(row.cluster_certificate)

    @admin.display(description="trust anchor (the customer's CA)")
    def customer_ca(self, row: Cluster) -> str:
        return preformatted(row.trust_anchor)


class HsmAdmin(AccountAdmin):
    console_page = ("console:cluster", "cluster.cluster_id")
    region_path = "cluster.region"
    account_path = "cluster__account"
    list_display = ["hsm_id", "cluster", "availability_zone", "eni_ip", "state", "state_message", "wanted"]
    list_select_related = ["cluster"]
    list_filter = ["state", "availability_zone", "wanted", CLUSTER_FILTER]
    search_fields = ["hsm_id", "cluster__cluster_id", "eni_ip", "eni_id", "subnet_id"]
    date_hierarchy = "created_at"
    fields = [
        "hsm_id",
        "cluster",
        "availability_zone",
        "subnet_id",
        "eni_id",
        "eni_ip",
        "state",
        "state_message",
        "wanted",
        "token_made",
        "module_makes_ivs",
        "hsm_certificate",
        "created_at",
    ]

    @admin.display(description="HSM certificate")
    def hsm_certificate(self, row: Hsm) -> str:
        return preformatted(row.certificate)


class MaskedKeyAdmin(AccountAdmin):
    account_path = "cluster__account"
    list_display = ["label", "cluster", "owner", "created_at"]
    list_select_related = ["cluster"]
    list_filter = ["owner", CLUSTER_FILTER]
    search_fields = ["label"]
    ordering = ["label"]
    date_hierarchy = "created_at"
    fields = ["label", "cluster", "owner", "created_at"]


class KeyIntentAdmin(AccountAdmin):
    account_path = "cluster__account"
    list_display = ["label", "state", "cluster", "attempt", "hsm_ids", "reserves", "created_at", "deadline"]
    list_select_related = ["cluster"]
    list_filter = ["state", CLUSTER_FILTER]
    search_fields = ["label", "backing_key_id", "reserves", "requested_by"]
    date_hierarchy = "created_at"
    ordering = ["-created_at"]
    fields = [
        "label",
        "state",
        "cluster",
        "backing_key_id",
        "attempt",
        "hsm_ids",
        "reserves",
        "requested_by",
        "created_at",
        "deadline",
    ]

    @admin.display(description="HSMs it may have touched")
    def hsm_ids(self, row: KeyIntent) -> str:
        return ", ".join(row.hsms)


class TombstoneAdmin(AccountAdmin):
    account_path = "cluster__account"
    list_display = ["label", "cluster", "hsm_ids", "leaves_objects", "created_at"]
    list_select_related = ["cluster"]
    list_filter = ["leaves_objects", CLUSTER_FILTER]
    search_fields = ["label", "backing_key_id"]
    date_hierarchy = "created_at"
    ordering = ["-created_at"]
    fields = ["label", "cluster", "backing_key_id", "hsm_ids", "leaves_objects", "created_at"]

    @admin.display(description="HSMs still to go")
    def hsm_ids(self, row: Tombstone) -> str:
        return ", ".join(row.hsms)


class ReconciliationAdmin(AccountAdmin):
    console_page = ("console:cluster", "hsm.cluster.cluster_id")
    region_path = "hsm.cluster.region"
    account_path = "hsm__cluster__account"
    list_display = ["hsm", "finished_at", "reason", *RECONCILED]
    list_select_related = ["hsm__cluster"]
    list_filter = ["reason", ("hsm", admin.RelatedOnlyFieldListFilter)]
    search_fields = ["hsm__hsm_id"]
    date_hierarchy = "finished_at"
    ordering = ["-finished_at"]
    fields = ["hsm", "reason", "begun_at", "finished_at", *RECONCILED]


class IsOpen(admin.SimpleListFilter):
    """Whether it is still so."""

    title = "state"
    parameter_name = "open"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("yes", "Open"), ("no", "Resolved")]

    def queryset(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> models.QuerySet[Any]:
        return queryset if self.value() is None else queryset.filter(resolved_at__isnull=self.value() == "yes")


class FindingAdmin(AccountAdmin):
    console_page = ("console:cluster", "cluster.cluster_id")
    region_path = "cluster.region"
    account_path = "cluster__account"
    list_display = ["kind", "label", "hsm", "cluster", "detail", "found_at", "seen_at", "resolved_at"]
    list_select_related = ["cluster", "hsm"]
    list_filter = [IsOpen, "kind", CLUSTER_FILTER]
    search_fields = ["label", "backing_key_id", "hsm__hsm_id", "detail"]
    date_hierarchy = "found_at"
    ordering = ["-found_at"]
    fields = ["kind", "cluster", "hsm", "label", "backing_key_id", "detail", "found_at", "seen_at", "resolved_at"]


def _list_link(page: str, cluster: Cluster, text: str, *, label: str) -> str:
    address = reverse(f"admin:{page}_changelist", query={"cluster__id__exact": cluster.pk})
    return format_html('<a href="{}" aria-label="{}: {}">{}</a>', address, label, text, text)


MODEL_ADMINS: dict[type[models.Model], type[AccountAdmin]] = {
    Cluster: ClusterAdmin,
    Hsm: HsmAdmin,
    MaskedKey: MaskedKeyAdmin,
    KeyIntent: KeyIntentAdmin,
    Tombstone: TombstoneAdmin,
    Reconciliation: ReconciliationAdmin,
    Finding: FindingAdmin,
}
