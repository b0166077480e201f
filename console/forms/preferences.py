"""The Preferences form of the keys table."""

from __future__ import annotations

from django import forms

from console.columns import COLUMNS, PAGE_SIZES
from console.preferences import KeysPreferences


class KeysPreferencesForm(forms.Form):
    page_size = forms.TypedChoiceField(choices=[(size, f"{size} keys") for size in PAGE_SIZES], coerce=int)
    wrap = forms.BooleanField(required=False)
    columns = forms.MultipleChoiceField(choices=[(column.name, column.label) for column in COLUMNS], required=False)

    def preferences(self) -> KeysPreferences:
        return KeysPreferences(**self.cleaned_data)
