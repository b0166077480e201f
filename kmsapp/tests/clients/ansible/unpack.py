"""Unpack the collection amazon.aws out of the package `ansible`: `unpack.py <folder with the wheel> <where to>`."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

COLLECTION = "ansible_collections/amazon/aws/"


def main(downloaded: Path, target: Path) -> None:
    (wheel,) = downloaded.glob("ansible-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(target, [name for name in archive.namelist() if name.startswith(COLLECTION)])


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
