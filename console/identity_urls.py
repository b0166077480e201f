"""Addresses below /identities/. What is done to a policy stands in front of its ARN, whose path may have any depth."""

from __future__ import annotations

from django.urls import URLPattern, path, register_converter
from django.urls.converters import StringConverter

from console.views.identities import (
    changes,
    creation,
    credentials,
    details,
    lists,
    membership,
    permissions,
    policies,
    tags,
)


class PolicyArnConverter(StringConverter):
    regex = r"arn:aws:iam::(?:aws|[0-9]{12}):policy/.+"


register_converter(PolicyArnConverter, "policy_arn")

urlpatterns: list[URLPattern] = [
    path("users/", lists.users, name="users"),
    path("roles/", lists.roles, name="roles"),
    path("groups/", lists.groups, name="groups"),
    path("policies/", lists.policies, name="policies"),
    path("create-user/", creation.user, name="user-create"),
    path("create-role/", creation.role, name="role-create"),
    path("create-group/", creation.group, name="group-create"),
    path("create-policy/", creation.policy, name="policy-create"),
    path("policy-check/<str:grammar>/", changes.policy_check, name="policy-check"),
    path("policies/<policy_arn:arn>/", policies.policy, name="policy"),
    path("policies/edit/<policy_arn:arn>/", policies.edit, name="policy-edit"),
    path("policies/delete/<policy_arn:arn>/", policies.delete, name="policy-delete"),
    path("policies/tags/<policy_arn:arn>/", tags.of_policy, name="policy-tags"),
    path("policies/<slug:version>/default/<policy_arn:arn>/", policies.version_default, name="policy-version-default"),
    path("policies/<slug:version>/delete/<policy_arn:arn>/", policies.version_delete, name="policy-version-delete"),
    path("users/<str:name>/", details.user, name="user"),
    path("roles/<str:name>/", details.role, name="role"),
    path("groups/<str:name>/", details.group, name="group"),
    path("users/<str:name>/access-keys/create/", credentials.access_key_create, name="access-key-create"),
    path(
        "users/<str:name>/access-keys/<slug:access_key_id>/activate/",
        credentials.access_key_status,
        {"change": "activate"},
        name="access-key-activate",
    ),
    path(
        "users/<str:name>/access-keys/<slug:access_key_id>/deactivate/",
        credentials.access_key_status,
        {"change": "deactivate"},
        name="access-key-deactivate",
    ),
    path(
        "users/<str:name>/access-keys/<slug:access_key_id>/delete/",
        credentials.access_key_delete,
        name="access-key-delete",
    ),
    path("users/<str:name>/password/", credentials.password, name="user-password"),
    path("users/<str:name>/password/remove/", credentials.password_remove, name="user-password-remove"),
    path("users/<str:name>/disable/", credentials.user_disable, name="user-disable"),
    path("users/<str:name>/enable/", credentials.user_enable, name="user-enable"),
    path("users/<str:name>/groups/add/", membership.user_add, name="user-groups-add"),
    path("users/<str:name>/groups/<str:group>/remove/", membership.user_remove, name="user-group-remove"),
    path("groups/<str:name>/users/add/", membership.group_add, name="group-users-add"),
    path("groups/<str:name>/users/<str:user>/remove/", membership.group_remove, name="group-user-remove"),
    path("roles/<str:name>/trust/", changes.trust, name="role-trust"),
    path("roles/<str:name>/edit/", changes.role_edit, name="role-edit"),
    path("<slug:slug>/<str:name>/edit/", changes.edit, name="identity-edit"),
    path("<slug:slug>/<str:name>/delete/", changes.delete, name="identity-delete"),
    path("<slug:slug>/<str:name>/tags/", tags.of_identity, name="identity-tags"),
    path("<slug:slug>/<str:name>/attach/", permissions.attach, name="identity-attach"),
    path("<slug:slug>/<str:name>/detach/", permissions.detach, name="identity-detach"),
    path("<slug:slug>/<str:name>/boundary/", permissions.boundary, name="identity-boundary"),
    path("<slug:slug>/<str:name>/boundary/remove/", permissions.boundary_remove, name="identity-boundary-remove"),
    path("<slug:slug>/<str:name>/inline/create/", permissions.inline_create, name="identity-inline-create"),
    path("<slug:slug>/<str:name>/inline/<str:policy_name>/edit/", permissions.inline, name="identity-inline"),
    path(
        "<slug:slug>/<str:name>/inline/<str:policy_name>/delete/",
        permissions.inline_delete,
        name="identity-inline-delete",
    ),
]
