"""The sign-in forms."""

from __future__ import annotations

import re

from django import forms


class RootSignInForm(forms.Form):
    """Of an account's root user, who has no name. (AWS asks for the email address; here is none.)"""

    account = forms.CharField(max_length=20)
    password = forms.CharField(max_length=512, strip=False)

    def clean_account(self) -> str:
        """Account IDs are often written 1111-2222-3333."""
        digits = re.sub(r"[\s-]", "", self.cleaned_data["account"])
        if not re.fullmatch(r"[0-9]{12}", digits):
            raise forms.ValidationError("Enter the 12 digits of the account ID.")
        return digits


class SignInForm(RootSignInForm):
    """Of an IAM user."""

    user_name = forms.CharField(max_length=64)
