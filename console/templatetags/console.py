"""Tags and filters of the console's templates: icons, states, dates."""

from __future__ import annotations

import datetime
from typing import Any

from django import template
from django.templatetags.static import static
from django.utils.html import format_html
from django.utils.safestring import SafeString

from console import explanations, simulation, statuses

register = template.Library()


@register.simple_tag
def icon(name: str, label: str = "") -> SafeString:
    """Draw a symbol of icons.svg. With a label it is read aloud, without it is decoration."""
    address = f"{static('console/icons.svg')}#{name}"
    if label:
        return format_html('<svg class="icon" role="img" aria-label="{}"><use href="{}"/></svg>', label, address)
    return format_html('<svg class="icon" aria-hidden="true"><use href="{}"/></svg>', address)


@register.simple_tag
def status(state: str) -> SafeString:
    """Show a state: icon, colour and words."""
    shown = statuses.status(state)
    return format_html('<span class="status status-{}">{} {}</span>', shown.kind, icon(shown.icon), shown.text)


@register.simple_tag
def hsm_count(active: int, required: int = 2) -> SafeString:
    """Show how many HSMs are active, as a warning when they are too few for new keys."""
    if active >= required:
        return format_html("{}", active)
    return format_html(
        '<span class="status status-warning">{} {} of {} required</span>', icon("warning"), active, required
    )


@register.simple_tag
def moment(time: datetime.datetime | None, zone: bool = True) -> SafeString | str:
    """Show a time: November 21, 2025, 09:14 (UTC+00:00)."""
    if time is None:
        return "-"
    utc = time.astimezone(datetime.UTC)
    text = f"{utc:%B} {utc.day}, {utc:%Y, %H:%M}" + (" (UTC+00:00)" if zone else "")
    return format_html('<time datetime="{}">{}</time>', utc.isoformat(), text)


@register.simple_tag
def duration(seconds: int) -> str:
    """Show a length of time: 1 hour, 90 minutes."""
    unit, count = ("hour", seconds // 3600) if seconds % 3600 == 0 else ("minute", seconds // 60)
    return f"{count} {unit}" if count == 1 else f"{count} {unit}s"


@register.simple_tag(takes_context=True)
def why(context: dict[str, Any], sentence: str) -> SafeString | str:
    """Offer the policy simulator beside a denial, where it is about a key of the caller's account and Region."""
    caller = context.get("caller")
    address = simulation.address_of(sentence, caller) if caller else ""
    return format_html('<a class="button neutral" href="{}">Why?</a>', address) if address else ""


@register.simple_tag
def explained(sentence: str) -> str:
    """Say in other words what was missing, as far as AWS's sentence tells."""
    return explanations.explained(sentence)


register.filter("key_type", statuses.key_type)


@register.filter
def key_usage(usage: str) -> str:
    return statuses.KEY_USAGES.get(usage, usage)


@register.filter
def origin(name: str) -> str:
    return statuses.ORIGINS.get(name, name)


@register.filter
def entry(mapping: dict[str, Any], name: str) -> Any:
    """mapping[name], or nothing: problems|entry:"id_alias"."""
    return mapping.get(name, "")


@register.filter
def add_number(text: str, number: int) -> str:
    """Join a text and a number: "id_tag_key_"|add_number:3."""
    return f"{text}{number}"
