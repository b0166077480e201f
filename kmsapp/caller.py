"""Who calls, from where: the same for every way in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Via = Literal["wire", "console", "admin", "service"]


@dataclass(frozen=True)
class Caller:
    """A principal acting in a Region."""

    account: str  # 12 digits
    region: str
    principal_arn: str
    principal_id: str  # AIDA…
    user_name: str = ""
    access_key_id: str = ""  # empty in the browser
    via: Via = "wire"
    source_ip: str = ""
    user_agent: str = ""
