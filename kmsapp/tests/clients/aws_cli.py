"""The AWS CLI, many commands in one process: it takes most of a second to start, and a few hundredths for a command.

The process runs what the program `aws` runs. It reads a command line a line, a JSON list, and answers each with a line.
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import partial
from os import getpid
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from botocore import xform_name

from hsmapp.parent import die_with_parent
from kmsapp.testing import ROOT


@dataclass(frozen=True)
class Done:
    """What one command left."""

    code: int
    stdout: str
    stderr: str


class AwsCli:
    """The process. Use as a context manager."""

    def __init__(self, environment: dict[str, str]):
        self._environment = environment

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            env={**self._environment, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=partial(die_with_parent, getpid()),
        )
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._process.communicate(timeout=30)

    def run(self, *arguments: str) -> Done:
        """Run one command: `cli.run("kms", "list-keys")`."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(arguments) + "\n")
        self._process.stdin.flush()
        return Done(**json.loads(self._process.stdout.readline()))


def command_line(service: str, operation: str, params: dict[str, Any], folder: Path) -> list[str]:
    """The arguments of `aws` for what boto3 takes as `params`. folder: where files for blobs are written."""
    command = [service, xform_name(operation, "-")]
    for name, value in params.items():
        option = f"--{xform_name(name, '-')}"
        if isinstance(value, bool):
            command.append(option if value else option.replace("--", "--no-", 1))
        elif isinstance(value, bytes):
            file = folder / f"{operation}-{name}"
            file.write_bytes(value)
            command += [option, f"fileb://{file}"]
        else:
            command += [option, value if isinstance(value, str) else json.dumps(value)]
    return command


def _serve() -> None:
    from awscli.clidriver import create_clidriver

    driver = create_clidriver()
    for line in sys.stdin:
        output, errors = io.StringIO(), io.StringIO()
        with redirect_stdout(output), redirect_stderr(errors):
            code = _run(driver, json.loads(line))
        print(json.dumps({"code": code, "stdout": output.getvalue(), "stderr": errors.getvalue()}), flush=True)


def _run(driver: Any, arguments: Sequence[str]) -> int:
    try:
        return int(driver.main(list(arguments)))
    except SystemExit as ended:  # of its argument parser
        return int(ended.code or 0)


if __name__ == "__main__":
    _serve()
