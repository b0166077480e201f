"""YAML as seed files are written in it: a tree of nodes with their places, and none of YAML's surprises.

A node keeps its text as it was written, so that nothing is read as a number, a date or a truth value by accident:
012345678901 is those twelve digits, and `on` is a text where a text is asked for. Anchors, aliases and merge keys are
YAML's own. Refused: a name twice in one mapping, tags beyond YAML's core, and what would grow without bound.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import yaml
from yaml.reader import Reader

from kmsapp.seed_file.places import Place, Problems, SeedFileError

MOST_BYTES = 4 * 1024 * 1024
MOST_NODES = 200_000  # each counted as often as aliases repeat it
DEEPEST = 50

Node: TypeAlias = yaml.Node
Members: TypeAlias = dict[str, tuple[Node, Node]]  # name -> the node of the name and that of its value

# libyaml's parser is ten times as fast, and PyYAML's wheels have it.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_CORE = "tag:yaml.org,2002:"
_TAGS = {_CORE + name for name in ("str", "int", "float", "bool", "null", "timestamp", "seq", "map", "merge", "value")}
_MERGE, _NULL, _BOOL = _CORE + "merge", _CORE + "null", _CORE + "bool"


@dataclass(frozen=True)
class Tree:
    """A file that is YAML."""

    root: Node
    lines: list[str]  # of its text, without their ends


def parse(content: bytes) -> Tree:
    """The file's one document.

    Raises: SeedFileError.
    """
    text = _decoded(content)
    try:
        _require_shallow(text)
        root = yaml.compose(text, Loader=_LOADER)
    except yaml.MarkedYAMLError as error:
        raise _no_yaml(error, text) from error
    if root is None:
        raise _refused(Place(1, 1), "The file is empty. Write what is to be made, at least an account.")
    _require_bounded(root)
    return Tree(root, text.split("\n"))


def place_of(node: Node | yaml.Event, path: str = "") -> Place:
    mark = node.start_mark
    return Place(mark.line + 1, mark.column + 1, path) if mark is not None else Place(1, 1, path)


def is_null(node: Node) -> bool:
    """Whether no value was written: nothing, ~ or null."""
    return bool(node.tag == _NULL)


def is_truth_value(node: Node) -> bool:
    """Whether YAML 1.1 reads the text as true or false: `yes` and `off` are such, too, unless they stand in quotes."""
    return bool(node.tag == _BOOL)


def is_number(node: Node) -> bool:
    """Whether YAML 1.1 reads the text as a number: 0x1f and 190:20:30 are some, too."""
    return node.tag in (_CORE + "int", _CORE + "float")


def members(node: yaml.MappingNode, path: str, problems: Problems) -> Members:
    """The members of a mapping, with what it merges in (<<: *defaults), which its own go before."""
    own: Members = {}
    merged: list[yaml.MappingNode] = []
    for name, value in node.value:
        place = place_of(name, path)
        if name.tag == _MERGE:
            merged += _to_merge(value, path, problems)
        elif not isinstance(name, yaml.ScalarNode):
            problems.add(place, "A list or a mapping can't be a name. Write the name as a text.")
        elif is_null(name):
            problems.add(place, "There is no name before the colon.")
        elif name.value in own:
            first = place_of(own[name.value][0]).line
            problems.add(place, f"{name.value} stands twice in one mapping; the first is in line {first}. Keep one.")
        else:
            own[name.value] = (name, value)
    for mapping in merged:
        own = {**members(mapping, path, problems), **own}
    return own


def _to_merge(value: Node, path: str, problems: Problems) -> list[yaml.MappingNode]:
    """The mappings that << names; of several, members of the first go before."""
    nodes = value.value if isinstance(value, yaml.SequenceNode) else [value]
    found = [node for node in nodes if isinstance(node, yaml.MappingNode)]
    if len(found) != len(nodes):
        problems.add(place_of(value, path), "<< merges a mapping, or a list of mappings, as in <<: *defaults.")
    return found


def _decoded(content: bytes) -> str:
    if len(content) > MOST_BYTES:
        sentence = f"The file has {len(content):,} bytes. A seed file can have {MOST_BYTES:,} at most."
        raise _refused(Place(1, 1), sentence)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start].decode("utf-8-sig")
        raise _refused(_end_of(before), f"The file is not UTF-8: byte {content[error.start]:#04x}.") from error
    control = Reader.NON_PRINTABLE.search(text)
    if control is not None:
        sentence = f"The character U+{ord(control[0]):04X} can't stand in YAML. Write it as an escape in double quotes."
        raise _refused(_end_of(text[: control.start()]), sentence)
    return text


def _end_of(text: str) -> Place:
    return Place(text.count("\n") + 1, len(text) - text.rfind("\n"))


def _require_shallow(text: str) -> None:
    """Refuse what is nested too deeply before anything recurses into it."""
    depth = 0
    for event in yaml.parse(text, Loader=_LOADER):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > DEEPEST:
            raise _too_deep(event)


def _too_deep(marked: yaml.Event | Node) -> SeedFileError:
    return _refused(place_of(marked), f"This is nested more than {DEEPEST} levels deep.")


@dataclass(frozen=True)
class _Extent:
    """How much a node is with everything that its aliases repeat."""

    nodes: int
    depth: int


def _require_bounded(root: Node) -> None:
    """Refuse foreign tags, an alias of what it stands in, and aliases that multiply beyond MOST_NODES."""
    problems = Problems()
    known: dict[int, _Extent] = {}
    is_open: set[int] = set()

    def extent(node: Node) -> _Extent:
        # An alias is its anchor's node again: followed once, its size is known wherever else it stands.
        if id(node) in known:
            return known[id(node)]
        if id(node) in is_open:
            raise _refused(place_of(node), "This contains itself by an alias.")
        if node.tag not in _TAGS:
            problems.add(place_of(node), f"The tag {_shown(node.tag)} is not taken. Leave it out.")
        is_open.add(id(node))
        inner = [extent(part) for part in _parts(node)]
        is_open.remove(id(node))
        found = _Extent(1 + sum(part.nodes for part in inner), 1 + max((part.depth for part in inner), default=0))
        if found.nodes > MOST_NODES:
            sentence = f"With what its aliases repeat, this has {found.nodes:,} values. A seed file can have "
            raise _refused(place_of(node), f"{sentence}{MOST_NODES:,} at most.")
        if found.depth > DEEPEST + 1:
            raise _too_deep(node)
        known[id(node)] = found
        return found

    extent(root)
    problems.require_none()


def _parts(node: Node) -> list[Node]:
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def _shown(tag: str) -> str:
    return f"!!{tag.removeprefix(_CORE)}" if tag.startswith(_CORE) else tag


def _no_yaml(error: yaml.MarkedYAMLError, text: str) -> SeedFileError:
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line, mark.column) if mark else (0, 0)
    is_tab = text.split("\n")[line][column : column + 1] == "\t"
    what = _in_words(str(error.problem or "it ends too early"), str(error.context or "").partition(";")[0])
    hint = " This is a tab, and YAML indents with spaces." if is_tab else ""
    if what.startswith("mapping values are not allowed"):
        hint = " A text with a colon and a space in it must stand in quotes."
    return _refused(Place(line + 1, column + 1), f"This is no YAML: {what}.{hint}")


def _in_words(problem: str, context: str) -> str:
    """What the parser says of a mistake and of where it was then, as one sentence."""
    if problem == "second occurrence":
        return context
    return f"{problem} {context}".strip() if context.startswith("while") else f"{context} {problem}".strip()


def _refused(place: Place, sentence: str) -> SeedFileError:
    return SeedFileError([(place, sentence)])
