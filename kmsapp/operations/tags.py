"""TagResource and ListResourceTags, and the rules of tags."""

from __future__ import annotations

import re
from typing import Any

from kmsapp import access, key_states, paging
from kmsapp.call import Call
from kmsapp.errors import TagException
from kmsapp.models import Tag
from kmsapp.operations.keys import locked
from kmsapp.registry import operation

TAGS_PER_KEY = 50
# https://docs.aws.amazon.com/tag-editor/latest/userguide/tagging.html: letters, digits, spaces and _ . : / = + - @
_ALLOWED = re.compile(r"[\w .:/=+\-@]*\Z")
ALPHABET = "letters, digits, spaces and _ . : / = + - @"


def problem(key: str, value: str) -> str:
    """What is wrong with a tag beyond the lengths of its parts; empty when nothing is."""
    if key.lower().startswith("aws:"):
        return "Tags beginning with aws: are reserved"
    if not _ALLOWED.match(key):
        return f"The tag key {key} has other characters than {ALPHABET}."
    if not _ALLOWED.match(value):
        return f"The value of the tag {key} has other characters than {ALPHABET}."
    return ""


def require_valid(tag_list: list[dict[str, str]]) -> None:
    """Refuse tags that AWS refuses, whatever a key has already. Lengths are the model's."""
    keys = [tag["TagKey"] for tag in tag_list]
    if len(keys) > TAGS_PER_KEY:
        raise TagException("Too many tags")
    if len(set(keys)) != len(keys):
        raise TagException("Duplicate tag keys")
    for tag in tag_list:
        wrong = problem(tag["TagKey"], tag["TagValue"])
        if wrong:
            raise TagException(wrong)


@operation("kms:TagResource")
def tag_resource(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """https://docs.aws.amazon.com/kms/latest/APIReference/API_TagResource.html"""
    tag_list = params["Tags"]
    call.audit_parameters["keyId"] = params["KeyId"]
    call.audit_parameters["tags"] = [{"tagKey": tag["TagKey"], "tagValue": tag["TagValue"]} for tag in tag_list]
    found = access.key(call, params["KeyId"], "kms:TagResource")
    key_states.require("TagResource", found)
    require_valid(tag_list)
    with call.change({"keyId": found.arn}):
        key = locked(found, "TagResource")  # the count below must hold until it is written
        for tag in tag_list:
            Tag.objects.update_or_create(key=key, tag_key=tag["TagKey"], defaults={"tag_value": tag["TagValue"]})
        if key.tags.count() > TAGS_PER_KEY:
            raise TagException("Too many tags")
    return {}


@operation("kms:ListResourceTags", read_only=True)
def list_resource_tags(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """https://docs.aws.amazon.com/kms/latest/APIReference/API_ListResourceTags.html"""
    call.audit_parameters["keyId"] = params["KeyId"]
    found = access.key(call, params["KeyId"], "kms:ListResourceTags")
    return paging.answer(
        "Tags",
        Tag.objects.filter(key_id=found.pk),
        entry,
        by="tag_key",
        purpose=f"ListResourceTags {found.arn}",
        limit=min(params.get("Limit") or TAGS_PER_KEY, TAGS_PER_KEY),
        marker_given=params.get("Marker"),
    )


def entry(tag: Tag) -> dict[str, str]:
    """https://docs.aws.amazon.com/kms/latest/APIReference/API_Tag.html"""
    return {"TagKey": tag.tag_key, "TagValue": tag.tag_value}
