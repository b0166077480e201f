"""What an HSM process works on: its HSM, and the sessions of its connections."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from hsmapp.device.hsm_users import HsmUsers
from hsmapp.device.keys import Keys
from hsmapp.device.masking_check import MaskingCheck
from hsmapp.device.protocol import ROLE_ADMIN, ROLE_CRYPTO_USER
from hsmapp.device.token import Token

# Besides the roles of HSM users: who has shown the control secret.
SUPERVISOR = "supervisor"


@dataclass(eq=False)
class Session:
    """One connection. role: None until it has logged in. password_hash: of the password that it showed then."""

    role: str | None = None
    user: str = ""
    client: str = ""
    end_after_answer: bool = False
    password_hash: bytes = field(default=b"", repr=False)


@dataclass
class Hsm:
    """What the operations work on. ending: sessions whose connections the server is to end."""

    hsm_id: str
    folder: Path
    tokens: Path
    token: Token
    keys: Keys
    masking_check: MaskingCheck
    users: HsmUsers
    capacity: int
    control_secret: bytes = field(repr=False)
    serving: bool = False
    sessions: set[Session] = field(default_factory=set)
    ending: list[Session] = field(default_factory=list)

    def end(self, sessions: list[Session]) -> None:
        self.ending += sessions

    def sessions_of(self, name: str) -> list[Session]:
        """The sessions that an HSM user of this name has logged in."""
        return [
            session
            for session in self.sessions
            if session.user == name and session.role in (ROLE_ADMIN, ROLE_CRYPTO_USER)
        ]
