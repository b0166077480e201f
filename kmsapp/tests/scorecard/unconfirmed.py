"""What the code takes AWS to do although nobody has confirmed it: the comments and docstrings that say `(unconfirmed)`.

Of the block of a comment, or the paragraph of a docstring, what is listed begins with the sentence that has the word,
beside the file and the function, class or name that it stands at. So a choice is listed by being written down where it
is made.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

MARK = "(unconfirmed)"
_APPS = ("hsmapp", "kmsapp", "console")


class Choice(NamedTuple):
    """A choice that is ours until AWS's is known."""

    file: str  # relative to the repository
    subject: str  # the name that the comment stands at
    text: str  # without the mark


def choices(root: Path) -> list[Choice]:
    """All of them, by file and in the file's order. Tests make no choices."""
    files = [file for app in _APPS for file in sorted((root / app).rglob("*.py"))]
    return [choice for file in files if not _is_aside(file.relative_to(root)) for choice in _of_file(root, file)]


def _is_aside(file: Path) -> bool:
    return {"tests", "migrations"} & set(file.parts) != set() or file.name == "testing.py"


def _of_file(root: Path, file: Path) -> Iterator[Choice]:
    source = file.read_text()
    if MARK not in source:
        return
    tree = ast.parse(source)
    found = [*_comments(source), *_docstrings(tree)]
    for line, end, text in sorted(found):
        if MARK in text:
            yield Choice(str(file.relative_to(root)), _subject(tree, line, end), _from_mark(text))


def _comments(source: str) -> Iterator[tuple[int, int, str]]:
    """Blocks of comments on lines that follow one another: first line, last line, text."""
    block: list[tuple[int, str]] = []
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type != tokenize.COMMENT or token.line[: token.start[1]].strip():
            continue  # beside code it explains a value
        line = token.start[0]
        if block and line != block[-1][0] + 1:
            yield block[0][0], block[-1][0], " ".join(text for _, text in block)
            block = []
        block.append((line, token.string.lstrip("# ").strip()))
    if block:
        yield block[0][0], block[-1][0], " ".join(text for _, text in block)


def _docstrings(tree: ast.Module) -> Iterator[tuple[int, int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef) and (text := ast.get_docstring(node)):
            line = node.body[0].lineno
            yield from ((line, line, " ".join(paragraph.split())) for paragraph in re.split(r"\n\s*\n", text))


def _subject(tree: ast.Module, line: int, end: int) -> str:
    """What the comment is in, or what follows it."""
    inside = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.lineno <= line <= (node.end_lineno or 0)
    ]
    if inside:
        outer = sorted(inside, key=lambda node: node.lineno)
        return ".".join(node.name for node in outer[: 2 if isinstance(outer[0], ast.ClassDef) else 1])
    following = [node for node in tree.body if (node.end_lineno or 0) >= end]
    return _name(following[0]) if following and line > 1 else ""


def _name(node: ast.stmt) -> str:
    match node:
        case ast.FunctionDef() | ast.ClassDef():
            return node.name
        case ast.Assign(targets=[ast.Name(id=name), *_]) | ast.AnnAssign(target=ast.Name(id=name)):
            return name
    return ""


def _from_mark(text: str) -> str:
    """The text from the sentence on that has the mark, without the mark."""
    before, _, after = text.partition(MARK)
    sentence = re.split(r"(?<=[.:;])\s", before)[-1] if not before.endswith(". ") else ""
    plain = f"{sentence.rstrip()}{'' if after[:1] in ':;,.' else ' '}{after.lstrip()}".strip(" :")
    return plain[:1].upper() + plain[1:]
