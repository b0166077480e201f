"""C3: two different encryption contexts never give the same bytes, and order alone changes nothing."""

from __future__ import annotations

import random
import unicodedata

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kmsapp import ciphertext, encryption_context
from kmsapp.tests import independent_decoder

PAIRS = 100_000
HEADER = bytes(57)
# Pieces from which contexts are built that look alike: separators, lengths written out, NUL, composed and decomposed.
PIECES = (
    *("", "a", "b", "A", "ab", "c", ",", "=", "b,c", "a=b", "\0", "\0\0\0\1", "\0\0\0\1a", "é", "e\u0301", "ß", "ss"),
    *("\uffff", "\U0001f511", "K", "\u212a", "İ", "i\u0307", " ", "a ", " a", "true", "1", "1.0", "null", "ﬀ", "ff"),
)
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(PIECES)
contexts = st.dictionaries(text, text, max_size=5)

LOOK_ALIKE: tuple[dict[str, str], ...] = (
    {},
    {"": ""},
    {"a": ""},
    {"": "a"},
    {"a": "b,c"},
    {"a": "b", "c": ""},
    {"a": "b", "c": "d"},
    {"a": "bc", "": "d"},
    {"ab": "c"},
    {"a": "bc"},
    {"A": "bc"},
    {"a": "BC"},
    {"a": "b\0c"},
    {"a\0": "bc"},
    {"é": "1"},
    {"e\u0301": "1"},
    {"1": "é"},
    {"1": "e\u0301"},
    {"a": "\0\0\0\1"},
    {"a": "\0\0\0\1b\0\0\0\1"},
)


def aad(context: dict[str, str]) -> bytes:
    return ciphertext.associated_data(HEADER, key_store_id="", context=context)


@settings(
    derandomize=True, max_examples=1500, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
)
@given(contexts, contexts)
def test_different_contexts_have_different_bytes(one: dict[str, str], other: dict[str, str]) -> None:
    assert (aad(one) == aad(other)) == (one == other)
    assert encryption_context.encode(one) == independent_decoder.encode_context(one)


@settings(derandomize=True, max_examples=300, deadline=None, database=None)
@given(contexts, st.randoms(use_true_random=False))
def test_the_order_of_the_pairs_changes_nothing(context: dict[str, str], order: random.Random) -> None:
    pairs = list(context.items())
    order.shuffle(pairs)
    assert aad(dict(pairs)) == aad(context)


def test_contexts_that_look_alike_have_different_bytes() -> None:
    assert len({aad(context) for context in LOOK_ALIKE}) == len(LOOK_ALIKE)
    assert unicodedata.normalize("NFC", "e\u0301") == "é", "the two forms are one text to a reader"


def test_100_000_pairs_of_contexts_give_no_collision() -> None:
    """Neighbours, on purpose: one context and a small change of it; and all of them against each other."""
    choose = random.Random(3)  # noqa: S311 - the same contexts in every run
    seen: dict[bytes, dict[str, str]] = {}
    pairs = collisions = 0
    while pairs < PAIRS:
        one = {choose.choice(PIECES): choose.choice(PIECES) for _ in range(choose.randrange(4))}
        other = neighbour(one, choose)
        if one == other:
            continue
        pairs += 1
        collisions += aad(one) == aad(other)
        for context in (one, other):
            collisions += seen.setdefault(aad(context), context) != context
    print(f"C3: {collisions} collisions in {pairs} pairs of neighbours and among {len(seen)} different contexts")
    assert collisions == 0


def neighbour(context: dict[str, str], choose: random.Random) -> dict[str, str]:
    """The context with one small change: a pair more or less, text moved between key and value, two values swapped."""
    pairs = list(context.items())
    match choose.randrange(4):
        case 0:
            return {**context, choose.choice(PIECES): choose.choice(PIECES)}
        case 1 if pairs:
            return dict(pairs[1:])
        case 2 if len(pairs) > 1:
            (a, b), (c, d) = pairs[:2]
            return dict([(a, d), (c, b), *pairs[2:]])
    if not pairs:
        return {"": ""}
    (key, value), *others = pairs
    whole = key + value
    cut = choose.randrange(len(whole) + 1)
    return dict([*others, (whole[:cut], whole[cut:])])
