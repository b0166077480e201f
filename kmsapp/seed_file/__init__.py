"""The seed file: what an installation begins with, as YAML. It is read and checked here; kmsapp/seeding makes it.

    yaml_tree.py      text -> nodes, with what is dangerous in YAML refused
    kinds.py          what a member can be; entries*.py are the tables of members, in which each has its kind
    reading.py        nodes -> entries, by those tables
    checks/           what entries say of each other: names, references, limits, principals
    policy_text.py    policies, written as YAML or as JSON, and where in the file each part of one stands
    reference.py      the tables of docs/seed-file.md, made from the tables of members

Nothing here reads or writes a row: a file is right or wrong by itself, and whoever reads one is told all that is wrong
with it at once, each with line and column. `read` gives a SeedFile of which everything can be made.
"""

from __future__ import annotations
