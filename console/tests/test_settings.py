"""What the environment can and can't change. Each case is a process of its own: settings are read once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from kmsapp.testing import ROOT

SHOW = "import json; from console import settings; print(json.dumps([getattr(settings, name) for name in {names}]))"
HOSTS = ["DEBUG", "ALLOWED_HOSTS"]
COOKIES = ["SESSION_COOKIE_NAME", "SESSION_COOKIE_SECURE", "CSRF_COOKIE_NAME", "CSRF_COOKIE_SECURE"]
LIFE = ["SESSION_COOKIE_AGE", "SESSION_HOURS", "SESSION_IDLE_MINUTES", "PROOF_MINUTES"]


def settings_with(data: Path, names: list[str], **variables: str) -> Any:
    """The settings' values, or the last line that was said instead."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CASEMATE_")}
    environment = kept | {"CASEMATE_DATA": str(data)} | variables
    command = [sys.executable, "-c", SHOW.format(names=names)]
    shown = subprocess.run(command, cwd=ROOT, env=environment, check=False, capture_output=True, text=True)
    return json.loads(shown.stdout) if shown.returncode == 0 else shown.stderr.strip().splitlines()[-1]


def test_the_server_answers_to_the_names_of_this_machine_only(tmp_path: Path) -> None:
    assert settings_with(tmp_path, HOSTS) == [False, ["127.0.0.1", "localhost", "[::1]"]]


def test_nothing_in_the_environment_turns_on_pages_that_show_faults(tmp_path: Path) -> None:
    names = {"CASEMATE_DEBUG": "1", "DJANGO_DEBUG": "1", "DEBUG": "1", "CASEMATE_ALLOWED_HOSTS": "kms.example"}
    assert settings_with(tmp_path, HOSTS, **names) == [False, ["kms.example"]]


def test_cookies_are_bound_to_the_host_where_there_is_tls(tmp_path: Path) -> None:
    """Browsers take a cookie with this prefix only from HTTPS, and for one host alone."""
    assert settings_with(tmp_path, COOKIES) == ["casemate_session", False, "csrftoken", False]
    with_tls = settings_with(tmp_path, COOKIES, CASEMATE_TLS="1")
    assert with_tls == ["__Host-casemate_session", True, "__Host-csrftoken", True]


def test_how_long_a_session_lasts_can_be_set(tmp_path: Path) -> None:
    assert settings_with(tmp_path, LIFE) == [12 * 3600, 12, 60, 5]
    names = {"CASEMATE_SESSION_HOURS": "1", "CASEMATE_SESSION_IDLE_MINUTES": "5"}
    assert settings_with(tmp_path, LIFE, **names) == [3600, 1, 5, 5]
    for name in names:
        assert f"{name} is 0." in settings_with(tmp_path, LIFE, **{name: "0"})
        assert f"{name} is 'long'." in settings_with(tmp_path, LIFE, **{name: "long"})
    assert settings_with(tmp_path, LIFE, CASEMATE_PROOF_MINUTES="0")[3] == 0
    assert "CASEMATE_PROOF_MINUTES is -1." in settings_with(tmp_path, LIFE, CASEMATE_PROOF_MINUTES="-1")


def test_proxies_are_trusted_by_address_only(tmp_path: Path) -> None:
    for wrong in ("0.0.0.0/0", "::/0", "127.0.0.1,0.0.0.0/0"):
        said = settings_with(tmp_path, HOSTS, CASEMATE_TRUSTED_PROXIES=wrong)
        assert "trusts every address" in said, wrong
    for wrong in ("2", "proxy.example", "10.0.0.1/8", "yes"):
        assert "CASEMATE_TRUSTED_PROXIES" in settings_with(tmp_path, HOSTS, CASEMATE_TRUSTED_PROXIES=wrong), wrong
    good = "127.0.0.1, 10.0.0.0/8, 2001:db8::/32"
    assert settings_with(tmp_path, HOSTS, CASEMATE_TRUSTED_PROXIES=good)[0] is False
