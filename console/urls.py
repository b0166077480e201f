"""Addresses: the console at /, Django admin at /admin/. Names are console:<noun> or console:<noun>-<verb>."""

from __future__ import annotations

from django.urls import URLPattern, URLResolver, include, path
from django.views.generic import RedirectView

from console import admin_site, identity_urls
from console.views import (
    clusters,
    create_key,
    create_key_store_step,
    help,
    key_deletion,
    key_policies,
    key_store_changes,
    key_stores,
    keys,
    password,
    roles,
    shell,
    sign_in,
    simulator,
)

console: list[URLPattern | URLResolver] = [
    path("", RedirectView.as_view(pattern_name="console:keys"), name="home"),
    path("sign-in/", sign_in.sign_in, name="sign-in"),
    path("sign-in/root-user/", sign_in.sign_in, {"as_root": True}, name="sign-in-root"),
    path("sign-out/", sign_in.sign_out, name="sign-out"),
    path("password/", password.password_change, name="password-change"),
    path("role-switch/", roles.role_switch, name="role-switch"),
    path("role-switch/back/", roles.role_switch_back, name="role-switch-back"),
    path("region/", shell.region, name="region"),
    path("theme/", shell.theme, name="theme"),
    path("navigation/", shell.navigation, name="navigation"),
    path("keys/", keys.keys, name="keys"),
    path("keys/preferences/", keys.keys_preferences, name="keys-preferences"),
    path("keys/create/", create_key.create_key, name="create-key"),
    path("keys/create/alias-check/", create_key.alias_check, name="create-key-alias-check"),
    path("keys/create/policy-check/", create_key.policy_check, name="create-key-policy-check"),
    path("keys/create/<uuid:draft_id>/cancel/", create_key.create_key_cancel, name="create-key-cancel"),
    path("keys/create/<uuid:draft_id>/progress/", create_key.create_key_progress, name="create-key-progress"),
    path(
        "keys/create/<uuid:draft_id>/progress/check/",
        create_key.create_key_progress_check,
        name="create-key-progress-check",
    ),
    path(
        "keys/create/<uuid:draft_id>/key-store/table/",
        create_key_store_step.key_store_table,
        name="create-key-store-table",
    ),
    path(
        "keys/create/<uuid:draft_id>/key-store/create/",
        key_store_changes.create_for_draft,
        name="create-key-store-create",
    ),
    path(
        "keys/create/<uuid:draft_id>/key-store/<str:store_id>/edit/",
        key_store_changes.edit_for_draft,
        name="create-key-store-edit",
    ),
    path("keys/create/<uuid:draft_id>/<slug:slug>/", create_key.create_key_step, name="create-key-step"),
    path("keys/<str:key_id>/", keys.key, name="key"),
    path("keys/<str:key_id>/policy/", key_policies.edit, name="key-policy-edit"),
    path("keys/<str:key_id>/deletion/cancel/", key_deletion.cancel, name="key-deletion-cancel"),
    path("keys/<str:key_id>/deletion/confirm/", key_deletion.confirm, name="key-deletion-confirm"),
    path("keys/<str:key_id>/simulator/", simulator.simulator, name="key-simulator"),
    path("key-stores/", key_stores.key_stores, name="key-stores"),
    path("key-stores/table/", key_stores.key_stores_table, name="key-stores-table"),
    path("key-stores/choose/", key_stores.key_stores_choose, name="key-stores-choose"),
    path("key-stores/create/", key_store_changes.create, name="key-store-create"),
    path("key-stores/<str:store_id>/", key_stores.key_store, name="key-store"),
    path("key-stores/<str:store_id>/state/", key_stores.key_store_state, name="key-store-state"),
    path("key-stores/<str:store_id>/connect/", key_stores.connect, name="key-store-connect"),
    path("key-stores/<str:store_id>/disconnect/", key_stores.disconnect, name="key-store-disconnect"),
    path("key-stores/<str:store_id>/edit/", key_store_changes.edit, name="key-store-edit"),
    path("key-stores/<str:store_id>/delete/", key_store_changes.delete, name="key-store-delete"),
    path("clusters/", clusters.clusters, name="clusters"),
    path("clusters/<str:cluster_id>/", clusters.cluster, name="cluster"),
    path("identities/", include(identity_urls)),
    path("help/", help.index, name="help"),
    path("help/<slug:slug>/", help.topic, name="help-topic"),
]

urlpatterns: list[URLPattern | URLResolver] = [
    path("healthz", shell.healthz, name="healthz"),
    path("favicon.ico", shell.favicon, name="favicon"),
    path("admin/", admin_site.site.urls),
    path("", include((console, "console"))),
]

handler400 = "console.views.errors.bad_request"
handler403 = "console.views.errors.forbidden"
handler404 = "console.views.errors.not_found"
handler500 = "console.views.errors.server_error"
