"""Compare what an HSM holds with what the database says, and make the two agree.

The token is listed first and the database read afterwards: a key that is being made has its intent row before any HSM
knows of it, so what is in a token and in no row by then was never promised to anybody. By label and id:

    in the database, not in the token     made again from its masked key
    in both, and fails its check          withdrawn there, and made again from its masked key
    only in the token:
        an abandoned intent names it      destroyed: nobody was ever told of it
        a tombstone names it              destroyed: its key was deleted; or put aside, if the tombstone says that it
                                          stays
        an open intent names it           left alone: it is being made
        nobody knows it                   quarantined and listed, until one of the above, or the database, does
    an object without a name              destroyed: half of a key that was never made

A second run finds nothing to do. Objects of HSM users that this service does not log in as are theirs.
"""

from __future__ import annotations

import datetime
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from typing import NamedTuple

from django.db.models import BooleanField, ExpressionWrapper, OuterRef, Q, Subquery
from django.db.models.functions import Now

from hsmapp import clock, findings, key_creation, tombstones
from hsmapp.device import protocol
from hsmapp.device.protocol import HsmAnswerError
from hsmapp.findings import Subject
from hsmapp.models import Cluster, ClusterCredential, Hsm, KeyIntent, MaskedKey, Reconciliation, Tombstone
from hsmapp.replication import SHORT_SECONDS, Device
from hsmapp.states import FindingKind, HsmState, IntentState, ReconcileReason

logger = logging.getLogger(__name__)

PAGE = 500
# So many keys are checked at once: about 3 ms, in which the HSM answers nobody else.
CHECKS = 32
# An HSM that can't store one key (a full disk) is not asked to store all others too.
MOST_FAILURES = 3
KEPT_RUNS = 50  # per HSM

Pair = tuple[str, str]  # label, backing key id

UNKNOWN = "It is in the token and in no record. It is kept there, and not used."
TWICE = "The token holds it twice. One of the two is used."
REPAIRED = "It failed its check and was made again from its masked key."
NOT_TRIED = "It was not tried: the HSM could not store the keys before it."

# What this module lists for an HSM, and takes off the list when it is right again.
_LISTED = (FindingKind.ORPHAN, FindingKind.ORPHANED, FindingKind.DEBRIS, FindingKind.MISSING, FindingKind.DAMAGED)


@dataclass
class Report:
    """What was found and done, in numbers of keys or objects."""

    keys: int = 0  # in the token and in the database
    restored: int = 0  # were missing
    repaired: int = 0  # were damaged
    destroyed: int = 0
    quarantined: int = 0
    cleared: int = 0  # half-written objects
    failed: int = 0  # could be neither restored nor repaired

    @property
    def changes(self) -> int:
        """How much was not as it should be; 0 for a second run."""
        return self.restored + self.repaired + self.destroyed + self.quarantined + self.cleared + self.failed

    def with_earlier(self, earlier: Report) -> Report:
        """This comparison together with one that was made just before it."""
        return Report(
            keys=self.keys,
            restored=self.restored + earlier.restored,
            repaired=self.repaired + earlier.repaired,
            destroyed=self.destroyed + earlier.destroyed,
            quarantined=self.quarantined + earlier.quarantined,
            cleared=self.cleared + earlier.cleared,
            failed=self.failed,  # whatever failed before has been tried again
        )

    def sentence(self) -> str:
        """For people: what was not as it should be."""
        done = (
            (self.restored, "missing, made again"),
            (self.repaired, "damaged, made again"),
            (self.destroyed, "never finished or deleted, destroyed"),
            (self.quarantined, "unknown, quarantined"),
            (self.cleared, "half-written, removed"),
            (self.failed, "that can't be made again"),
        )
        return ", ".join(f"{count} {what}" for count, what in done if count) or "nothing to do"


def reconcile(device: Device, *, check_keys: bool) -> Report:
    """Compare the HSM with the database; safe to run twice, and while it serves.

    check_keys: also verify the check ciphertext of every key that is there. Without that, a damaged key is found when
    it is first used.
    Raises: HsmAnswerError TokenFailed if its storage does not answer; HsmUnreachableError.
    """
    return _Comparison(device).run(check_keys=check_keys)


def reconcile_and_note(device: Device, reason: ReconcileReason, earlier: Report) -> Report:
    """Compare and check everything, and keep a row of it. earlier: what was done just before the HSM began to serve."""
    begun_at = clock.now()
    report = reconcile(device, check_keys=True).with_earlier(earlier)
    Reconciliation.objects.create(
        hsm=device.hsm,
        reason=reason,
        begun_at=begun_at,
        finished_at=clock.now(),
        **{field.name: getattr(report, field.name) for field in fields(report)},
    )
    kept = Reconciliation.objects.filter(hsm=device.hsm).values_list("pk", flat=True)[:KEPT_RUNS]
    Reconciliation.objects.filter(hsm=device.hsm).exclude(pk__in=list(kept)).delete()
    if report.changes:
        logger.warning("%s was reconciled: %s", device.hsm.hsm_id, report.sentence())
    return report


def ask(hsms: Iterable[Hsm]) -> datetime.datetime:
    """Have the supervisor compare these HSMs soon; returns since when its answer counts."""
    now = clock.now()
    Hsm.objects.filter(pk__in=[hsm.pk for hsm in hsms]).update(reconcile_asked_at=now)
    return now


def last_of(cluster: Cluster) -> list[Reconciliation]:
    """The last comparison of each HSM of the cluster, in the order of their ids."""
    last = Reconciliation.objects.filter(hsm=OuterRef("pk")).order_by("-finished_at", "-pk").values("pk")[:1]
    pks = cluster.hsms.exclude(state=HsmState.DELETED).annotate(last=Subquery(last)).values("last")
    return list(Reconciliation.objects.filter(pk__in=pks).select_related("hsm").order_by("hsm__hsm_id"))


def keys_in(device: Device) -> Iterator[tuple[str, str, str | None]]:
    """(label, backing key id, owner) of every key the token holds."""
    after = ""
    while True:
        page = device.ask("list_keys", after=after, limit=PAGE)
        yield from page["keys"]
        after = page["next"]
        if not after:
            return


class _Named(NamedTuple):
    """What is only in a token, by what is known of it."""

    being_made: set[Pair]  # whatever else names it
    unwanted: set[Pair]  # to be destroyed
    orphaned: set[Pair]  # to be put aside: key material of a KMS key that was deleted


class _Comparison:
    """One comparison of one HSM."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._cluster = device.hsm.cluster_id
        self._report = Report()
        self._wrong: dict[Subject, str] = {}  # what is to be listed as wrong afterwards -> a sentence
        self._failed: set[Pair] = set()
        self._quarantined: set[Pair] = set()
        self._still_there: set[Pair] = set()  # to be destroyed, and refused
        self._refusals = 0  # of the token, to store a key

    def run(self, *, check_keys: bool) -> Report:
        # First of all: what a later one names may have been listed before it was destroyed.
        deleted = list(Tombstone.objects.filter(tombstones.let_go(), cluster=self._cluster).exclude(hsms=[]))
        held = list(keys_in(self._device))
        defects = list(self._defects())
        self._quarantined = {(one.name, one.id) for one in defects if one.kind == protocol.DEFECT_QUARANTINED}
        wanted = set(MaskedKey.objects.filter(cluster=self._cluster).values_list("label", "backing_key_id"))
        self._remove_strangers(self._strangers(held, defects, wanted))
        self._restore(wanted - {(label, id_) for label, id_, owner in held if owner is not None})
        if check_keys:
            self._check()
        self._confirm(deleted)
        self._look_at(defects, wanted)
        findings.settle(self._device.hsm, _LISTED, self._wrong, complete=check_keys)
        self._report.keys = len(wanted) - self._report.failed
        return self._report

    # What is only in the token

    def _strangers(
        self, held: list[tuple[str, str, str | None]], defects: list[protocol.Defect], wanted: set[Pair]
    ) -> set[Pair]:
        ours = set(ClusterCredential.objects.filter(cluster=self._cluster).values_list("user_name", flat=True))
        found = {(label, id_) for label, id_, owner in held if owner is None or owner in ours}
        # A label stands for one key; whatever else carries it is listed apart.
        found |= {(one.name, one.id) for one in defects if one.kind == protocol.DEFECT_FOREIGN_OBJECT}
        # It may have been deleted, or given up, since it was put aside: a database that was restored may know of it.
        return (found | self._quarantined) - wanted

    def _remove_strangers(self, strangers: set[Pair]) -> None:
        named = self._named(strangers)
        for pair in sorted(strangers - named.being_made):
            try:
                if pair in named.unwanted:
                    self._destroy(*pair)
                elif pair in named.orphaned:
                    self._put_aside(*pair, FindingKind.ORPHANED, tombstones.LEFT_BEHIND)
                else:
                    self._put_aside(*pair, FindingKind.ORPHAN, UNKNOWN)
            except HsmAnswerError as error:
                if error.name == protocol.TOKEN_FAILED:
                    self._require_storage(error)
                self._still_there.add(pair)
                what = "destroyed" if pair in named.unwanted else "put aside"
                self._note(FindingKind.ORPHAN, f"It can't be {what}: {error.message}.", *pair)

    def _destroy(self, label: str, id_: str) -> None:
        if (label, id_) in self._quarantined:
            self._device.ask("release_key", label=label, id=id_)
        self._report.destroyed += self._device.ask("destroy_key", label=label, id=id_)["destroyed"]

    def _put_aside(self, label: str, id_: str, kind: FindingKind, sentence: str) -> None:
        self._report.quarantined += self._device.ask("quarantine_key", label=label, id=id_)["objects"]
        self._note(kind, sentence, label, id_)

    def _named(self, strangers: set[Pair]) -> _Named:
        """Which of these somebody knows of."""
        named = _Named(set(), set(), set())
        for ids in _chunks(sorted(id_ for _, id_ in strangers)):
            for label, id_, state, is_let_go in self._intents(ids):
                if state == IntentState.OPEN or (state == IntentState.ABANDONED and not is_let_go):
                    # One that was given up a moment ago may have its maker at work still; the supervisor cleans up
                    # after it.
                    named.being_made.add((label, id_))
                elif state == IntentState.ABANDONED:
                    named.unwanted.add((label, id_))
            for one in Tombstone.objects.filter(cluster=self._cluster, backing_key_id__in=ids):
                said = named.orphaned if one.leaves_objects else named.unwanted
                said.add((one.label, one.backing_key_id))
            # After the intents: a key that was finished since the token was listed has its row by now.
            made = MaskedKey.objects.filter(cluster=self._cluster, backing_key_id__in=ids)
            named.being_made.update(made.values_list("label", "backing_key_id"))
        return named

    def _intents(self, ids: list[str]) -> list[tuple[str, str, str, bool]]:
        """(label, backing key id, state, whether its maker has let go of it).

        By one statement: between two, an intent that is being given up could be neither open nor abandoned.
        """
        let_go = Q(deadline__lt=Now() - datetime.timedelta(seconds=key_creation.LET_GO_SECONDS))
        rows = KeyIntent.objects.filter(cluster=self._cluster, backing_key_id__in=ids)
        rows = rows.annotate(is_let_go=ExpressionWrapper(let_go, output_field=BooleanField()))
        return list(rows.values_list("label", "backing_key_id", "state", "is_let_go"))

    # What should be in the token

    def _restore(self, missing: set[Pair]) -> None:
        for row in self._rows(missing):
            if self._made(row):
                self._report.restored += 1

    def _check(self) -> None:
        """Verify the check ciphertext of every key, and make again those that fail."""
        rows = MaskedKey.objects.filter(cluster=self._cluster).order_by("pk")
        last = 0
        while checks := list(rows.filter(pk__gt=last).values_list("pk", "label", "check_ciphertext")[:CHECKS]):
            last = checks[-1][0]
            packed = protocol.pack_checks([(label, bytes(check)) for _, label, check in checks])
            answer = self._device.ask_within(SHORT_SECONDS, "check_keys", rows=packed)
            for row in rows.filter(label__in=answer["damaged"]):
                if self._made(row):
                    self._report.repaired += 1
                    findings.note_repaired(self._subject(FindingKind.DAMAGED, row.label, row.backing_key_id), REPAIRED)
            for row in rows.filter(label__in=answer["absent"]):
                if self._made(row):
                    self._report.restored += 1

    def _rows(self, pairs: set[Pair]) -> Iterator[MaskedKey]:
        for ids in _chunks(sorted(id_ for _, id_ in pairs)):
            for row in MaskedKey.objects.filter(cluster=self._cluster, backing_key_id__in=ids).order_by("pk"):
                if (row.label, row.backing_key_id) in pairs:
                    yield row

    def _made(self, row: MaskedKey) -> bool:
        """Whether the key had to be made, and was. One that can't be made keeps no other from being made."""
        if (row.label, row.backing_key_id) in self._failed:
            return False
        if self._refusals >= MOST_FAILURES:
            self._fail(row, NOT_TRIED)
            return False
        try:
            made = bool(self._device.ask("restore_key", **_restore_arguments(row))["made"])
            return made and not self._was_deleted_meanwhile(row)
        except HsmAnswerError as error:
            if error.name == protocol.TOKEN_FAILED:
                self._require_storage(error)
                self._refusals += 1
            self._fail(row, f"It can't be made from its masked key: {error.message}.")
            return False

    def _was_deleted_meanwhile(self, row: MaskedKey) -> bool:
        """A deletion that came between the reading of the row and its making has found nothing to destroy here."""
        if MaskedKey.objects.filter(pk=row.pk).exists():
            return False
        self._device.ask("destroy_key", label=row.label, id=row.backing_key_id)
        return True

    def _require_storage(self, error: HsmAnswerError) -> None:
        """A token that answers and does not store may be full, and its keys work. One that does not answer is lost."""
        if not self._device.ask("health")["ok"]:
            raise error

    def _fail(self, row: MaskedKey, sentence: str) -> None:
        self._failed.add((row.label, row.backing_key_id))
        self._report.failed = len(self._failed)
        self._note(FindingKind.MISSING, sentence, row.label, row.backing_key_id)

    def _confirm(self, deleted: list[Tombstone]) -> None:
        """This HSM has nothing more of what these say was deleted."""
        for one in deleted:
            if (one.label, one.backing_key_id) not in self._still_there:
                tombstones.confirm(one.pk, self._device.hsm.hsm_id)

    # What else is wrong

    def _defects(self) -> Iterator[protocol.Defect]:
        start = 0
        while True:
            page = self._device.ask("list_defects", start=start)
            yield from (protocol.Defect(*row) for row in page["defects"])
            start = page["next"]
            if not start:
                return

    def _look_at(self, defects: list[protocol.Defect], wanted: set[Pair]) -> None:
        if any(one.kind == protocol.DEFECT_DEBRIS for one in defects):
            self._clear()
        for one in defects:
            if one.kind == protocol.DEFECT_FOREIGN_OBJECT and (one.name, one.id) in wanted:
                self._note(FindingKind.ORPHAN, TWICE, one.name, one.id)
        files = [one for one in defects if one.kind in (protocol.DEFECT_SET_ASIDE, protocol.DEFECT_STRAY_FILE)]
        odd = [one for one in defects if one.kind == protocol.DEFECT_ODD_OBJECT]
        if files or odd:
            self._note(FindingKind.DEBRIS, _inventory(files, odd))

    def _clear(self) -> None:
        cleared = self._device.ask("clear_debris")["destroyed"]
        self._report.cleared += cleared
        if cleared:
            sentence = f"{cleared} half-written {'object' if cleared == 1 else 'objects'} without a name removed."
            findings.note_repaired(self._subject(FindingKind.DEBRIS, "", ""), sentence)

    # The list that people read

    def _note(self, kind: FindingKind, sentence: str, label: str = "", id_: str = "") -> None:
        self._wrong[self._subject(kind, label, id_)] = sentence

    def _subject(self, kind: FindingKind, label: str, id_: str) -> Subject:
        hsm = self._device.hsm
        return Subject(hsm.cluster, kind, hsm=hsm, label=label, backing_key_id=id_)


def _restore_arguments(row: MaskedKey) -> dict[str, object]:
    return {
        "label": row.label,
        "id": row.backing_key_id,
        "owner": row.owner,
        "masked": bytes(row.masked),
        "check": bytes(row.check_ciphertext),
    }


def _inventory(files: list[protocol.Defect], odd: list[protocol.Defect]) -> str:
    """What lies in an HSM's folder or token and is no use, in one sentence."""
    parts = []
    if files:
        parts.append(f"{len(files)} of its files can't be used: {_named(files)}")
    if odd:
        what = "object in its token is no key" if len(odd) == 1 else "objects in its token are no keys"
        parts.append(f"{len(odd)} {what}: {_named(odd)}")
    return "; ".join(parts) + "."


def _named(defects: list[protocol.Defect]) -> str:
    return ", ".join(f"{one.name or 'nameless'} ({one.reason})" for one in defects)


def _chunks(ids: list[str]) -> Iterator[list[str]]:
    """SQLite takes a limited number of parameters in one statement."""
    for start in range(0, len(ids), PAGE):
        yield ids[start : start + PAGE]
