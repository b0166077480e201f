"""Who may import whom: console -> kmsapp -> hsmapp, and PKCS#11 in one package only."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MAY_IMPORT = {"hsmapp": {"hsmapp"}, "kmsapp": {"hsmapp", "kmsapp"}, "console": {"hsmapp", "kmsapp", "console"}}
DEVICE = Path("hsmapp/device")
# The binding. cryptoki.py beside it loads the module's C functions by ctypes, for the few that the binding lacks.
BINDING = DEVICE / "token"
C_FUNCTIONS = DEVICE / "cryptoki.py"
PRCTL = {DEVICE / "__main__.py", Path("hsmapp/parent.py")}  # these call the C library's prctl, and no PKCS#11
PURE = (
    "hsmapp/parent.py",
    "hsmapp/softhsm.py",
    "kmsapp/arns.py",
    "kmsapp/ciphertext.py",
    "kmsapp/encryption_context.py",
    "kmsapp/grant_rules.py",
    "kmsapp/key_specs.py",
    "kmsapp/key_states.py",
    "kmsapp/policy",
    "kmsapp/wire/sigv4.py",
    "hsmapp/device",
)


def modules(*apps: str) -> list[Path]:
    """Every module of the apps, relative to the repository."""
    found = [path.relative_to(ROOT) for app in apps for path in (ROOT / app).rglob("*.py")]
    assert len(found) >= 10, "the walk has found nothing"
    return sorted(found)


def imported(module: Path) -> Iterator[str]:
    """Dotted names that a module imports anywhere in it, relative ones made absolute."""
    for node in ast.walk(ast.parse((ROOT / module).read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = list(module.parts[: len(module.parts) - node.level]) if node.level else []
            base = ".".join([*package, *([node.module] if node.module else [])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def is_of(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def is_test(module: Path) -> bool:
    return "tests" in module.parts or module.name in {"testing.py", "conftest.py"}


@pytest.mark.parametrize("app", MAY_IMPORT)
def test_imports_point_down(app: str) -> None:
    forbidden = MAY_IMPORT.keys() - MAY_IMPORT[app]
    wrong = [
        f"{module} imports {name}"
        for module in modules(app)
        for name in imported(module)
        if any(is_of(name, other) for other in forbidden)
    ]
    assert not wrong, wrong


def test_one_package_imports_pkcs11_and_one_loads_c_functions() -> None:
    inside = [module for module in modules(*MAY_IMPORT) if not is_test(module)]
    by_binding = [module for module in inside if any(is_of(name, "pkcs11") for name in imported(module))]
    assert by_binding
    assert not [module for module in by_binding if not module.is_relative_to(BINDING)]
    by_ctypes = {module for module in inside if any(is_of(name, "ctypes") for name in imported(module))}
    assert by_ctypes == {C_FUNCTIONS, *PRCTL}


def test_nothing_outside_the_hsm_process_imports_the_modules_that_touch_the_token() -> None:
    """What the rest may know of the HSM process is how to speak to it."""
    wrong = [
        f"{module} imports {name}"
        for module in modules(*MAY_IMPORT)
        if not is_test(module) and not module.is_relative_to(DEVICE)
        for name in imported(module)
        if name.startswith("hsmapp.device.") and not is_of(name, "hsmapp.device.protocol")
    ]
    assert not wrong, wrong
    above = [name for module in modules("kmsapp", "console") if not is_test(module) for name in imported(module)]
    assert not [name for name in above if is_of(name, "hsmapp.device")]


def test_modules_that_only_decide_import_nothing_of_django() -> None:
    """Of Django, and of our modules that need it: these run without settings and without a database."""
    wrong = [
        f"{module} imports {name}"
        for module in modules(*MAY_IMPORT)
        if not is_test(module) and any(module.is_relative_to(pure) for pure in PURE)
        for name in imported(module)
        if is_of(name, "django") or name.endswith(".models")
    ]
    assert not wrong, wrong


def test_the_walk_sees_every_form_of_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A walk that missed a form would let an arrow run back unseen."""
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    module = Path("hsmapp/device/late.py")
    (tmp_path / module).parent.mkdir(parents=True)
    (tmp_path / module).write_text(
        "import kmsapp.arns as a\nfrom kmsapp import ids\nfrom .. import models\n"
        "from ..tests import people\n\ndef late():\n    import console.pages\n"
    )
    names = set(imported(module))
    assert {"kmsapp.arns", "kmsapp", "kmsapp.ids", "hsmapp.models", "hsmapp.tests.people", "console.pages"} <= names
