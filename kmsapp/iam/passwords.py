"""Passwords for the console: what a good one is, and changing one's own.

The rules are AWS's default password policy:
https://docs.aws.amazon.com/IAM/latest/UserGuide/id_credentials_passwords_account-policy.html
"""

from __future__ import annotations

import re
import string
from typing import Any

from kmsapp import access
from kmsapp.call import Call
from kmsapp.errors import AccessDeniedException, PasswordPolicyViolationException
from kmsapp.models import User
from kmsapp.registry import operation

SHORTEST_PASSWORD, LONGEST_PASSWORD = 8, 128
KINDS_NEEDED = 3
SYMBOLS = "!@#$%^&*()_+-=[]{}|'"
_KINDS = (string.ascii_uppercase, string.ascii_lowercase, string.digits, SYMBOLS)
# passwordType of IAM's service model.
_CHARACTERS = re.compile("[\t\n\r\u0020-\u00ff]+")


def require_good(password: str, user: User) -> None:
    """Refuse a password that AWS's default policy refuses. Raises PasswordPolicyViolationException."""
    wrong = problem(password, account=user.account_id, user_name=user.user_name)
    if wrong:
        raise PasswordPolicyViolationException(wrong)


def problem(password: str, *, account: str, user_name: str) -> str:
    """What AWS's default policy has against the password, empty if nothing."""
    if len(password) < SHORTEST_PASSWORD:
        return f"Password should have a minimum length of {SHORTEST_PASSWORD}."
    if len(password) > LONGEST_PASSWORD:
        return f"Password should have a maximum length of {LONGEST_PASSWORD}."
    if not _CHARACTERS.fullmatch(password):
        return "Password should have characters of Latin 1 alone."
    if sum(any(letter in kind for letter in password) for kind in _KINDS) < KINDS_NEEDED:
        return (
            f"Password should have at least {KINDS_NEEDED} of: uppercase letters, lowercase letters, numbers, and "
            f"symbols ({SYMBOLS})."
        )
    if password.casefold() in {account, user_name.casefold()}:
        return "Password should be neither the account ID nor the user name."
    return ""


@operation("console:ChangePassword", recorded_as="iam:ChangePassword")
def change_password(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """Change the caller's own password, as on the console's page: OldPassword, NewPassword.

    Everybody who signs in may do that, root users too, whatever policies say of iam:ChangePassword.
    Raises: AccessDeniedException (wrong old password, or a role, which has none), PasswordPolicyViolationException.
    """
    access.open_to_all(call, "iam:ChangePassword")
    user = User.objects.filter(account=call.caller.account, user_id=call.caller.principal_id).first()
    if user is None:
        raise AccessDeniedException("Only users can change their own password.")
    if not user.check_password(params["OldPassword"]):
        raise AccessDeniedException("The old password was incorrect.")
    require_good(params["NewPassword"], user)
    user.set_password(params["NewPassword"])  # a tenth of a second, outside of the transaction
    user.password_reset_required = False
    with call.change():
        user.save(update_fields=["password", "password_reset_required"])
    return {}
