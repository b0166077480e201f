"""The command `casemate`: `casemate serve` is bin/serve, `casemate manage` is manage.py, of an installed Casemate."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from casemate import __version__, code

DATA = "casemate-data"  # in the folder where the command is called
DIE_WITH_PARENT = "--die-with-parent"  # the server ends when what started it does, however that ends

USAGE = f"""usage: casemate serve [options]    start the console, the AWS API and the HSMs
       casemate manage <command>   what an operator does to a data folder
       casemate --version

The data folder is {DATA} in this folder, unless --data or, for manage, CASEMATE_DATA says otherwise.

`casemate serve --help` and `casemate manage help` list what there is."""


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return the exit code of one that can't be run. What can be run takes this process's place."""
    given = sys.argv[1:] if arguments is None else arguments
    if given == ["--version"]:
        print(f"casemate {__version__}")
        return 0
    if given[:1] == ["serve"]:
        return _serve(given[1:])
    if given[:1] == ["manage"]:
        os.environ.setdefault("CASEMATE_DATA", str(Path(DATA).absolute()))
        return _run([str(code() / "manage.py"), *given[1:]])
    print(USAGE, file=sys.stderr if given else sys.stdout)
    return 2 if given else 0


def _serve(options: list[str]) -> int:
    if DIE_WITH_PARENT in options:
        options = [option for option in options if option != DIE_WITH_PARENT]
        sys.path.insert(0, str(code()))
        from hsmapp.parent import die_with_parent

        die_with_parent(os.getppid())
    if not any(option.partition("=")[0] == "--data" for option in options):
        options = ["--data", str(Path(DATA).absolute()), *options]
    return _run(["-m", "console.serving", *options])


def _run(arguments: list[str]) -> int:
    """Python with the server's packages in sight, and without the caller's folder, whose modules are not ours."""
    sys.stdout.flush()
    os.environ["PYTHONPATH"] = str(code())
    os.execv(sys.executable, [sys.executable, "-P", *arguments])  # noqa: S606
    return 1


if __name__ == "__main__":
    sys.exit(main())
