"""What the environment can and can't change. Each case is a process of its own: settings are read once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from kmsapp.testing import ROOT

SHOW = "import json; from console import settings; print(json.dumps([settings.DEBUG, settings.ALLOWED_HOSTS]))"


def settings_with(data: Path, **variables: str) -> Any:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CASEMATE_")}
    environment = kept | {"CASEMATE_DATA": str(data)} | variables
    shown = subprocess.run([sys.executable, "-c", SHOW], cwd=ROOT, env=environment, check=True, capture_output=True)
    return json.loads(shown.stdout)


def test_the_server_answers_to_the_names_of_this_machine_only(tmp_path: Path) -> None:
    assert settings_with(tmp_path) == [False, ["127.0.0.1", "localhost", "[::1]"]]


def test_nothing_in_the_environment_turns_on_pages_that_show_faults(tmp_path: Path) -> None:
    names = {"CASEMATE_DEBUG": "1", "DJANGO_DEBUG": "1", "DEBUG": "1", "CASEMATE_ALLOWED_HOSTS": "kms.example"}
    assert settings_with(tmp_path, **names) == [False, ["kms.example"]]
