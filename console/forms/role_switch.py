"""The form of switching role."""

from __future__ import annotations

import re

from django import forms

from console.roles import COLOURS, Choice


class RoleSwitchForm(forms.Form):
    account = forms.CharField(max_length=20)
    role = forms.CharField(max_length=576)  # 64 of a name, 512 of a path
    display_name = forms.CharField(max_length=64, required=False)
    colour = forms.ChoiceField(choices=list(COLOURS.items()), required=False)

    def clean_account(self) -> str:
        """Account IDs are often written 1111-2222-3333."""
        digits = re.sub(r"[\s-]", "", self.cleaned_data["account"])
        if not re.fullmatch(r"[0-9]{12}", digits):
            raise forms.ValidationError("Enter the 12 digits of the account ID.")
        return digits

    def clean_role(self) -> str:
        role: str = self.cleaned_data["role"].removeprefix("/")
        if not re.fullmatch(r"(?:[!-~]+/)?[\w+=,.@-]{1,64}", role, re.ASCII):
            raise forms.ValidationError("Enter the name of the role, with its path before it if it has one.")
        return role

    def choice(self) -> Choice:
        return Choice(**self.cleaned_data)
