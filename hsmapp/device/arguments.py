"""What arguments an operation takes: each is checked for type and size before the operation runs.

A message is flat: text, bytes, whole numbers and truth values, so nesting needs no limit of its own.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hsmapp.device.hsm_users import HsmUsers
from hsmapp.device.key_proofs import CHECK_BYTES, IV_BYTES
from hsmapp.device.protocol import BAD_REQUEST, ROLES, HsmAnswerError
from hsmapp.device.token import RESERVED_PREFIX

MAX_LABEL_BYTES = 512
MAX_PLAINTEXT_BYTES = 8 * 1024
MAX_AAD_BYTES = 16 * 1024
MAX_RANDOM_BYTES = 1024
MAX_PAGE = 500
_TAG_BYTES = 16
_ID = re.compile(r"[0-9a-f]{64}\Z")
_SMALL_BYTES = 8 * 1024


@dataclass(frozen=True)
class Argument:
    """check: gives the value to use, or raises ValueError. default: used when the argument is left out; None makes it
    required.
    """

    check: Callable[[Any], Any]
    default: Any = None


def _text(maximum: int) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        if not isinstance(value, str) or len(value.encode()) > maximum or "\0" in value:
            raise ValueError(f"must be text of at most {maximum} bytes")
        return value

    return check


def _binary(maximum: int, *, minimum: int = 0) -> Callable[[Any], bytes]:
    def check(value: Any) -> bytes:
        if not isinstance(value, bytes) or not minimum <= len(value) <= maximum:
            raise ValueError(f"must be {minimum} to {maximum} bytes")
        return value

    return check


def _number(minimum: int, maximum: int) -> Callable[[Any], int]:
    def check(value: Any) -> int:
        if type(value) is not int or not minimum <= value <= maximum:
            raise ValueError(f"must be a whole number from {minimum} to {maximum}")
        return value

    return check


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("must be true or false")
    return value


def _label(value: Any) -> str:
    label = _text(MAX_LABEL_BYTES)(value)
    if not label or label.startswith(RESERVED_PREFIX):
        raise ValueError("must not be empty or begin with the reserved prefix")
    return label


def _id(value: Any) -> str:
    if not isinstance(value, str) or not _ID.match(value):
        raise ValueError("must be 64 lower-case hexadecimal characters")
    return value


def _user(value: Any) -> str:
    return HsmUsers.normal_name(_text(64)(value))


def _new_password(value: Any) -> str:
    password = _text(256)(value)
    HsmUsers.check_password(password)
    return password


def _role(value: Any) -> str:
    if value not in ROLES:
        raise ValueError("must be admin or crypto-user")
    return str(value)


TEXT = Argument(_text(128))
LABEL = Argument(_label)
AFTER = Argument(_text(MAX_LABEL_BYTES), "")
ID = Argument(_id)
USER = Argument(_user)
# A wrong password may have any length, and is wrong, not malformed.
PASSWORD = Argument(_text(1024))
NEW_PASSWORD = Argument(_new_password)
ROLE = Argument(_role)
CHECK = Argument(_binary(CHECK_BYTES, minimum=CHECK_BYTES))
IV = Argument(_binary(IV_BYTES, minimum=IV_BYTES))
PLAINTEXT = Argument(_binary(MAX_PLAINTEXT_BYTES))
SEALED = Argument(_binary(MAX_PLAINTEXT_BYTES + _TAG_BYTES))
AAD = Argument(_binary(MAX_AAD_BYTES))
SMALL = Argument(_binary(_SMALL_BYTES, minimum=1))
ROWS = Argument(_binary(60 * 1024, minimum=1))
LENGTH = Argument(_number(1, MAX_RANDOM_BYTES))
START = Argument(_number(0, 1 << 31), 0)
LIMIT = Argument(_number(1, MAX_PAGE), MAX_PAGE)
OFF = Argument(_truth, False)


MASKED = {"label": LABEL, "id": ID, "masked": SMALL, "check": CHECK}


def checked(specified: dict[str, Argument], given: dict[Any, Any]) -> dict[str, Any]:
    """Return the arguments to use. Raises: HsmAnswerError BadRequest, naming the argument but never its value."""
    unknown = given.keys() - specified.keys()
    if unknown:
        raise HsmAnswerError(
            BAD_REQUEST, f"{len(unknown)} unknown argument(s); known are {', '.join(specified) or 'none'}"
        )
    return {name: _checked_one(name, argument, given) for name, argument in specified.items()}


def _checked_one(name: str, argument: Argument, given: dict[Any, Any]) -> Any:
    if name not in given:
        if argument.default is None:
            raise HsmAnswerError(BAD_REQUEST, f"{name} is missing")
        return argument.default
    try:
        return argument.check(given[name])
    except (ValueError, TypeError) as error:
        # A TypeError comes from an unhashable value; ours of ValueError hold no value. UnicodeEncodeError would.
        reason = str(error) if type(error) is ValueError else "has the wrong type"
        raise HsmAnswerError(BAD_REQUEST, f"{name} {reason}") from None
