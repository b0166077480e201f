"""What bin/serve makes of the environment that it is started in."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from kmsapp.testing import ROOT, clean_environment, free_port


def test_a_database_url_is_refused_while_only_sqlite_is_built(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "console.serving", "--data", tmp_path / "data", "--port", str(free_port())],
        cwd=ROOT,
        env={**clean_environment(), "DATABASE_URL": "postgres://casemate:not-shown@db.example/casemate"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr == "DATABASE_URL is set, but PostgreSQL is not built yet: unset it to use SQLite.\n"
    assert done.stdout == ""
    assert not (tmp_path / "data").exists()
