"""Sign-in to the browser with account, user name and password; a root user has no name."""

from __future__ import annotations

from django.contrib.auth.backends import BaseBackend
from django.http import HttpRequest

from kmsapp.models import User


class ConsoleBackend(BaseBackend):
    """Django's authentication backend; the same person is the same principal on the wire."""

    def authenticate(
        self,
        request: HttpRequest | None,
        account: str | None = None,
        user_name: str | None = None,
        password: str | None = None,
        **other: object,
    ) -> User | None:
        """Return the user, or None. An unknown user costs the same time as a wrong password."""
        if account is None or user_name is None or password is None:
            return None
        user = User.objects.filter(account_id=account, user_name__iexact=user_name).first()
        if user is None:
            User().set_password(password)
            return None
        return user if user.check_password(password) and user.is_active else None

    def get_user(self, user_id: int) -> User | None:
        return User.objects.filter(pk=user_id, is_active=True).first()
