"""Who calls, from where: the same for every way in."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import Literal

Via = Literal["wire", "console", "admin", "service"]
PrincipalType = Literal["User", "Root", "AssumedRole"]  # as aws:PrincipalType and CloudTrail have them, more or less


@dataclass(frozen=True)
class Caller:
    """A principal acting in a Region."""

    account: str  # 12 digits
    region: str
    principal_arn: str  # of a session, for an assumed role
    principal_id: str  # AIDA…, AROA…:<session name>, or the account id of a root user
    user_name: str = ""
    access_key_id: str = ""  # empty in the browser
    via: Via = "wire"
    source_ip: str = ""
    user_agent: str = ""
    principal_type: PrincipalType = "User"
    role_arn: str = ""  # of an assumed role
    session: int = 0  # primary key of the TemporaryCredential; 0 without one
    session_began_at: datetime.datetime | None = None  # also of a sign-in to the console; None with a long-term key
    source_identity: str = ""  # of the session
    is_secure: bool = False  # came by TLS

    @property
    def is_session_of_user(self) -> bool:
        """Whether this acts with what GetSessionToken gave: the user or root user themself, for a while."""
        return self.session != 0 and self.principal_type != "AssumedRole"

    @property
    def role_session_name(self) -> str:
        """Of an assumed role."""
        return self.principal_id.partition(":")[2]

    @property
    def identity_arn(self) -> str:
        """Whose policies count, as aws:PrincipalArn has it: the user's or the role's."""
        return self.role_arn or self.principal_arn

    @property
    def identity_id(self) -> str:
        """The unique id of that identity."""
        return self.principal_id.partition(":")[0]
