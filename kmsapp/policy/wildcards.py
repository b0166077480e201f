"""Patterns with * and ?, compiled once, matched in time linear in the value.

Between two asterisks stands a segment of fixed width. The first and the last are compared where they must stand; each
one between is looked for from where the one before it ended, and what has been passed is never looked at again: taking
the leftmost place can't be wrong, because only an asterisk follows. A segment with question marks inside is looked for
by the bit-parallel Shift-And method (Baeza-Yates and Gonnet, 1992): one step per character of the value. Many patterns
with question marks are matched together by the same method, else a policy full of them would take a walk for each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache

Piece = tuple[str, bool]  # a text, and whether * and ? in it stand for other characters
Matcher = Callable[[str], bool]

_ONE, _ANY = object(), object()
_MANY = 4  # patterns with question marks that are worth matching together


def compile_text(text: str) -> Matcher:
    """A matcher of the whole value for a pattern in which every * and ? is a wildcard."""
    return compile_pieces(((text, True),))


def compile_pieces(pieces: Iterable[Piece]) -> Matcher:
    """The same for a pattern in pieces, of which some are literal."""
    segments = _split(pieces)
    if len(segments) == 1:
        return _whole(segments[0])
    first, *between, last = segments
    if not between and not last.width and first.text is not None:
        return _begins_with(first.text)
    between = [segment for segment in between if segment.width]
    return _with_asterisks(first, between, last)


def compile_any(patterns: Iterable[Iterable[Piece]]) -> Callable[[str], bool]:
    """A matcher of the values that fit any of the patterns, each in pieces."""
    different = list(dict.fromkeys(tuple(pieces) for pieces in patterns))
    slow = [pieces for pieces in different if any(is_pattern and "?" in text for text, is_pattern in pieces)]
    if len(slow) < _MANY:
        matchers = [compile_pieces(pieces) for pieces in different]
    else:
        matchers = [_together(slow)]
        together = frozenset(slow)
        matchers += [compile_pieces(pieces) for pieces in different if pieces not in together]
    if len(matchers) == 1:
        return matchers[0]

    def fits_any(value: str) -> bool:
        for matches in matchers:  # noqa: SIM110 # half the time of any()
            if matches(value):
                return True
        return False

    return fits_any


def _together(patterns: Sequence[Iterable[Piece]]) -> Matcher:
    """One walk over the value for all patterns: a bit for each place in each pattern that the walk may have come to."""
    width, places = 0, dict[str, list[int]]({"": []})
    starts, ends, loops = list[int](), list[int](), list[int]()
    for pieces in patterns:
        starts.append(width)
        for token in _tokens(pieces):
            if token is _ANY:
                loops.append(width)  # stays here whatever comes
                continue
            width += 1
            places.setdefault("" if token is _ONE else str(token), []).append(width)
        ends.append(width)
        width += 1  # nothing leads from the end of one pattern to the start of the next
    masks = {character: _mask(found, width) for character, found in places.items()}
    wild = masks[""]
    steps = {character: wild | mask for character, mask in masks.items()}
    start, end, loop = (_mask(found, width) for found in (starts, ends, loops))

    def matches(value: str) -> bool:
        state = start
        for character in value:
            state = (state << 1) & steps.get(character, wild) | state & loop
            if not state:
                return False
        return bool(state & end)

    return matches


def _tokens(pieces: Iterable[Piece]) -> Iterable[object]:
    for text, is_pattern in pieces:
        for character in text:
            yield {"*": _ANY, "?": _ONE}.get(character, character) if is_pattern else character


# For patterns whose variables have been filled in: the same caller comes again.
compiled = lru_cache(maxsize=512)(compile_pieces)


def _whole(segment: _Segment) -> Matcher:
    if segment.text is not None:
        return segment.text.__eq__
    return lambda value: len(value) == segment.width and segment.is_at(value, 0)


def _begins_with(text: str) -> Matcher:
    if not text:
        return lambda value: True
    return lambda value: value.startswith(text)


def _with_asterisks(first: _Segment, between: list[_Segment], last: _Segment) -> Matcher:
    shortest = first.width + last.width + sum(segment.width for segment in between)
    texts = [segment.text for segment in (first, *between, last) if segment.text is not None]
    if len(texts) == len(between) + 2:
        return _with_asterisks_only(texts[0], texts[1:-1], texts[-1], shortest)

    def matches(value: str) -> bool:
        end = len(value) - last.width
        if len(value) < shortest or not first.is_at(value, 0) or not last.is_at(value, end):
            return False
        position = first.width
        for segment in between:
            position = segment.find(value, position, end) + segment.width
            if position < segment.width:
                return False
        return True

    return matches


def _with_asterisks_only(begin: str, between: list[str], finish: str, shortest: int) -> Matcher:
    """The same without question marks, as most patterns are."""
    begun, left = len(begin), len(finish)

    def matches(value: str) -> bool:
        if len(value) < shortest or not value.startswith(begin) or not value.endswith(finish):
            return False
        position, end = begun, len(value) - left
        for text in between:
            position = value.find(text, position, end)
            if position < 0:
                return False
            position += len(text)
        return True

    return matches


def _split(pieces: Iterable[Piece]) -> list[_Segment]:
    segments: list[list[object]] = [[]]
    for text, is_pattern in pieces:
        for character in text:
            if is_pattern and character == "*":
                if len(segments) > 1 and all(token is _ONE for token in segments[-1]):
                    # Between two asterisks question marks alone say how many characters there are at least.
                    segments[-2].extend(segments.pop())
                segments.append([])
            else:
                segments[-1].append(_ONE if is_pattern and character == "?" else character)
    return [_Segment(tokens) for tokens in segments]


class _Segment:
    """What stands between two asterisks: characters, and question marks for one character each."""

    def __init__(self, tokens: list[object]):
        self.width = len(tokens)
        self.text = "".join(map(str, tokens)) if _ONE not in tokens else None  # without question marks
        if self.text is not None:
            return
        known = [index for index, token in enumerate(tokens) if token is not _ONE] or [self.width]
        self._before = known[0]
        core = tokens[self._before : known[-1] + 1]
        self._after = self.width - self._before - len(core)
        self._core_text = None if _ONE in core else "".join(map(str, core))
        self._core_width = len(core)
        self._runs = _runs(tokens)
        self._bits = _bits(core) if self._core_text is None else {}

    def is_at(self, value: str, position: int) -> bool:
        """Whether the value, which is long enough, has the segment at this position."""
        if self.text is not None:
            return value.startswith(self.text, position)
        return all(value.startswith(text, position + offset) for offset, text in self._runs)

    def find(self, value: str, start: int, end: int) -> int:
        """The first position from start on at which the whole segment stands before end, or -1."""
        if end - start < self.width:
            return -1
        if self.text is not None:
            return value.find(self.text, start, end)
        start, end = start + self._before, end - self._after
        if self._core_text is not None:
            found = value.find(self._core_text, start, end)
        else:
            found = self._shift_and(value, start, end)
        return found - self._before if found >= 0 else -1

    def _shift_and(self, value: str, start: int, end: int) -> int:
        # Bit i of state: the core's first i + 1 tokens match what ends at this character.
        bits, wild, state, complete = self._bits, self._bits[""], 0, 1 << (self._core_width - 1)
        for position in range(start, end):
            state = (state << 1 | 1) & bits.get(value[position], wild)
            if state & complete:
                return position - self._core_width + 1
        return -1


def _runs(tokens: list[object]) -> list[tuple[int, str]]:
    """The texts between question marks, with their offsets."""
    runs: list[tuple[int, list[str]]] = []
    for offset, token in enumerate(tokens):
        if token is _ONE:
            continue
        if not runs or runs[-1][0] + len(runs[-1][1]) != offset:
            runs.append((offset, []))
        runs[-1][1].append(str(token))
    return [(offset, "".join(characters)) for offset, characters in runs]


def _bits(tokens: list[object]) -> dict[str, int]:
    """Per character, the tokens that it satisfies; under "" those that every character does."""
    places: dict[str, list[int]] = {"": []}
    for index, token in enumerate(tokens):
        places.setdefault("" if token is _ONE else str(token), []).append(index)
    masks = {character: _mask(found, len(tokens)) for character, found in places.items()}
    return {character: masks[""] | mask for character, mask in masks.items()}


def _mask(places: list[int], width: int) -> int:
    """The number with these bits set, in time linear in its width."""
    octets = bytearray(width // 8 + 1)
    for place in places:
        octets[place >> 3] |= 1 << (place & 7)
    return int.from_bytes(octets, "little")
