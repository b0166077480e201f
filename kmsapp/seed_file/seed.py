"""Reading a seed file."""

from __future__ import annotations

from kmsapp.seed_file import checks, yaml_tree
from kmsapp.seed_file.file_entries import SeedFile
from kmsapp.seed_file.kinds import At, File
from kmsapp.seed_file.places import Problems
from kmsapp.seed_file.reading import IGNORED, read_entry


def read(content: bytes) -> SeedFile:
    """The file, right in all that can be known before anything is made.

    Raises: SeedFileError, with everything that is wrong.
    """
    tree = yaml_tree.parse(content)
    file = File(tree.lines, Problems())
    seed = read_entry(SeedFile, At(tree.root, "", file), ignored=IGNORED)
    if seed is not None:
        _fill_in(seed)
        checks.run(seed, file.problems)
    file.problems.require_none()
    assert seed is not None  # noqa: S101 # without one there was a problem
    return seed


def _fill_in(seed: SeedFile) -> None:
    """What members that were left out mean by the rest of the file."""
    first = seed.accounts[0].id if seed.accounts else ""
    for entry in seed.of_accounts():
        entry.account = str(entry.account or first)
    for placed in seed.of_regions():
        placed.region = str(placed.region or seed.region)
