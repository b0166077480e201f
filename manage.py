#!/usr/bin/env python
"""Django's command line for Casemate: `.venv/bin/python manage.py help` lists the commands."""

from __future__ import annotations

import os
import sys

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "console.settings")
    try:
        from django.core.management import execute_from_command_line
    except ModuleNotFoundError:
        sys.exit("This Python has no Django: say .venv/bin/python manage.py …; bin/serve makes .venv.")
    execute_from_command_line(sys.argv)
