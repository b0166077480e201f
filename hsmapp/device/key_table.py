"""What an HSM knows of the keys in its token: label -> objects, id, owner. Does no cryptography.

A label stands for one key. Objects of other programs may carry the same label: those with the same id are tried after
one another until one passes its check; those with another id stay aside. What was quarantined is no key at all until
it is released: nobody can use it or list it as one, and it stays in the token.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from hsmapp.device.owners import QUARANTINED, OwnerJournal
from hsmapp.device.token import StoredKey


@dataclass
class Key:
    """One label. handles: its objects; more than one only after another program wrote into the token."""

    label: str
    id: str
    handles: list[int]
    owner: str | None
    checked_at: float | None = None  # monotonic seconds
    damaged: bool = False
    others: list[tuple[int, str]] = field(default_factory=list)  # objects with this label and another id


class KeyTable:
    """The keys in the order of their labels. quarantined: objects that are none."""

    def __init__(self, journal: OwnerJournal) -> None:
        self._journal = journal
        self._keys: dict[str, Key] = {}
        self._labels: list[str] = []
        self.quarantined: list[StoredKey] = []

    def fill(self, found: Iterable[StoredKey]) -> None:
        """Forget what was known; no key counts as checked afterwards."""
        self._keys, self.quarantined = {}, []
        for stored in found:
            if self._journal.owner(stored.label, stored.id) == QUARANTINED:
                self.quarantined.append(stored)
            else:
                self._add(stored)
        self._labels = sorted(self._keys)

    def _add(self, stored: StoredKey) -> None:
        known = self._keys.get(stored.label)
        if known is None:
            owner = self._journal.owner(stored.label, stored.id)
            self._keys[stored.label] = Key(stored.label, stored.id, [stored.handle], owner)
        elif known.id == stored.id:
            known.handles.append(stored.handle)
        else:
            known.others.append((stored.handle, stored.id))
            if known.owner is None and self._journal.owner(stored.label, stored.id) is not None:
                self.promote(known, stored.id)

    def __len__(self) -> int:
        return len(self._keys)

    def __iter__(self) -> Iterator[Key]:
        return (self._keys[label] for label in self._labels)

    def get(self, label: str) -> Key | None:
        return self._keys.get(label)

    def put(self, key: Key) -> None:
        if key.label not in self._keys:
            insort(self._labels, key.label)
        self._keys[key.label] = key

    def drop(self, key: Key) -> None:
        if self._keys.pop(key.label, None) is not None:
            del self._labels[bisect_left(self._labels, key.label)]

    def promote(self, key: Key, id_: str) -> None:
        """Make the objects with this id the label's own, and what was that before others."""
        before = [(handle, key.id) for handle in key.handles]
        key.handles = [handle for handle, other in key.others if other == id_]
        key.others = before + [(handle, other) for handle, other in key.others if other != id_]
        key.id, key.owner = id_, self._journal.owner(key.label, id_)
        key.checked_at, key.damaged = None, False

    def lose_own_objects(self, key: Key) -> None:
        """The objects of the key's own id are gone: the label stands for another id if there is one."""
        self.drop(key)
        if key.others:
            key.handles = []
            self.promote(key, key.others[0][1])
            self.put(key)

    def quarantine(self, label: str, id_: str) -> int:
        """Let the objects with this label and id be keys no more; return how many they are."""
        key = self._keys.get(label)
        if key is None:
            return 0
        handles = key.handles if key.id == id_ else [handle for handle, other in key.others if other == id_]
        self.quarantined += [StoredKey(handle, label, id_) for handle in handles]
        if key.id == id_:
            self.lose_own_objects(key)
        else:
            key.others = [pair for pair in key.others if pair[1] != id_]
        return len(handles)

    def release(self, label: str, id_: str) -> int:
        """Let what was quarantined be keys again; return how many objects that are."""
        released = [stored for stored in self.quarantined if (stored.label, stored.id) == (label, id_)]
        self.quarantined = [stored for stored in self.quarantined if stored not in released]
        for stored in released:
            self._add(stored)
        if released and (index := bisect_left(self._labels, label)) == bisect_right(self._labels, label):
            self._labels.insert(index, label)
        return len(released)

    def owned_by(self, owner: str) -> bool:
        return any(key.owner == owner for key in self._keys.values())

    def page(self, owner: str | None, after: str, limit: int) -> tuple[list[Key], str | None]:
        """Return keys in the order of their labels, and the label to continue after, None at the end."""
        start = bisect_right(self._labels, after) if after else 0
        found: list[Key] = []
        for label in self._labels[start:]:
            key = self._keys[label]
            if owner is not None and key.owner != owner:
                continue
            if len(found) == limit:
                return found, found[-1].label
            found.append(key)
        return found, None
