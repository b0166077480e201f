"""The form in which people change their own password."""

from __future__ import annotations

from django import forms

from kmsapp.iam.passwords import LONGEST_PASSWORD


class PasswordForm(forms.Form):
    old_password = forms.CharField(
        max_length=512, strip=False, error_messages={"required": "Enter your current password."}
    )
    new_password = forms.CharField(
        max_length=LONGEST_PASSWORD, strip=False, error_messages={"required": "Enter a new password."}
    )
    again = forms.CharField(strip=False, error_messages={"required": "Enter the new password again."})

    def clean_new_password(self) -> str:
        new: str = self.cleaned_data["new_password"]
        if new == self.cleaned_data.get("old_password"):
            raise forms.ValidationError("The new password is the current one. Choose another one.")
        return new

    def clean_again(self) -> str:
        again: str = self.cleaned_data["again"]
        if "new_password" in self.cleaned_data and again != self.cleaned_data["new_password"]:
            raise forms.ValidationError("This is not the new password. Enter it again.")
        return again
