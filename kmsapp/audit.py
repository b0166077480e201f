"""The audit record: one CloudTrail-shaped event per call, written before its answer leaves.

A call that changes something writes its event as a row in the transaction of the change (`record_change`). Every other
call, and every refusal, is a line in an append-only file of this process (`append`): in the kernel before the answer,
so kill -9 loses none, and fsynced every 50 ms, so a power cut may lose that much. The lines of a file form a hash
chain; audit_reading.py copies them into rows. If a write fails there is no answer. A call that was let at a resource of
another account is an event in both accounts.

Frame: https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-record-contents.html
"""

from __future__ import annotations

import datetime
import fcntl
import hashlib
import json
import logging
import os
import secrets
import threading
import time
from pathlib import Path
from typing import IO, Any

from django.conf import settings

from hsmapp import clock
from kmsapp import arns, ids
from kmsapp.call import Call
from kmsapp.caller import Caller
from kmsapp.errors import KmsError
from kmsapp.models import AuditChain, AuditEvent

logger = logging.getLogger(__name__)

FSYNC_SECONDS = 0.05
# Kept, because json.dumps makes a new one for each call that has options.
_ENCODER = json.JSONEncoder(separators=(",", ":"))
_BEFORE_LINK, _BEFORE_EVENT = b'{"chain":"', b'","event":'
_EVENT_AT = len(_BEFORE_LINK) + 64 + len(_BEFORE_EVENT)
Event = dict[str, Any]
VERSION = "1.11"
LONGEST_USER_AGENT = 1024
# CloudTrail's own limits: characters of an errorMessage; bytes of requestParameters, in place of which it says so.
LONGEST_ERROR_MESSAGE = 1024
MOST_PARAMETER_BYTES = 100 * 1024

_SOURCES = {
    "kms": "kms.amazonaws.com",
    "cloudhsm": "cloudhsm.amazonaws.com",
    "sts": "sts.amazonaws.com",
    "iam": "iam.amazonaws.com",
}
_AWS_INTERNAL = "AWS Internal"
_IDENTITY_TYPES = {"User": "IAMUser", "Root": "Root", "AssumedRole": "AssumedRole"}


def events(call: Call, *, error: KmsError | None = None, response: Event | None = None) -> list[Event]:
    """The events of a call: that of the caller's account, and one of each account whose resource it was let at.

    sharedEventID tells that they are of one call. Whose call was denied is told to their own account alone.
    """
    own = event(call, error=error, response=response)
    owners = {arns.account_of(arn) for arn in call.resources} - {call.caller.account}
    if not owners:
        return [own]
    own["sharedEventID"] = ids.new_uuid()
    return [own, *(_as_owner_sees(own, call.caller, owner) for owner in sorted(owners))]


def _as_owner_sees(own: Event, caller: Caller, owner: str) -> Event:
    """The owner of a resource is told the account and the unique id of who called, and no name."""
    identity = {"type": "AWSAccount", "principalId": caller.principal_id, "accountId": caller.account}
    if caller.via != "wire":
        identity["invokedBy"] = caller.via
    return {
        **own,
        "userIdentity": identity,
        "eventID": ids.new_uuid(),
        "resources": [resource for resource in own["resources"] if resource["accountId"] == owner],
        "recipientAccountId": owner,
    }


def event(call: Call, *, error: KmsError | None = None, response: Event | None = None) -> Event:
    """The event of a call, or of the part of it that is under way, by AWS's name of it."""
    caller = call.caller
    service, _, name = call.recorded_as.partition(":")
    record: Event = {
        "eventVersion": VERSION,
        "userIdentity": user_identity(caller),
        "eventTime": time_of(clock.now()),
        "eventSource": _SOURCES[service],
        "eventName": name,
        "awsRegion": caller.region,
        "sourceIPAddress": caller.source_ip or _AWS_INTERNAL,
        "userAgent": caller.user_agent[:LONGEST_USER_AGENT],
        "requestParameters": _parameters(call),
        "responseElements": response,
        "requestID": call.request_id,
        "eventID": ids.new_uuid(),
        "readOnly": call.read_only,
        "resources": [_resource(arn) for arn in call.resources],
        "eventType": "AwsApiCall",
        "managementEvent": True,
        "recipientAccountId": caller.account,
        "eventCategory": "Management",
    }
    if call.additional_event_data:
        record["additionalEventData"] = dict(call.additional_event_data)
    if error is not None:
        # CloudTrail's own spelling of a refused authorization lacks the ending.
        record["errorCode"] = "AccessDenied" if error.code == "AccessDeniedException" else error.code
        record["errorMessage"] = error.message[:LONGEST_ERROR_MESSAGE]
    return record


def service_event(name: str, key_arn: str, *, more: Event) -> Event:
    """The event of something that KMS does to a key by itself. more: its additionalEventData.

    https://docs.aws.amazon.com/awscloudtrail/latest/userguide/non-api-aws-service-events.html
    """
    arn = arns.parse(key_arn)
    if arn is None:
        raise ValueError(f"{key_arn} is no ARN")
    about = {"responseElements": {"keyId": key_arn}, "resources": [_resource(key_arn)], "additionalEventData": more}
    return {**_of_itself(name, arn.account, arn.region), **about}


def reset_event(account: str, region: str) -> Event:
    """The event of an account that was put back to what it was (account_snapshots.py), which AWS has not."""
    return {**_of_itself("ResetAccount", account, region), "responseElements": None, "resources": []}


def _of_itself(name: str, account: str, region: str) -> Event:
    """What every event has that no caller asked for."""
    return {
        "eventVersion": VERSION,
        "userIdentity": {"accountId": account, "invokedBy": _AWS_INTERNAL},
        "eventTime": time_of(clock.now()),
        "eventSource": _SOURCES["kms"],
        "eventName": name,
        "awsRegion": region,
        "sourceIPAddress": _AWS_INTERNAL,
        "userAgent": _AWS_INTERNAL,
        "requestParameters": None,
        "eventID": ids.new_uuid(),
        "readOnly": False,
        "eventType": "AwsServiceEvent",
        "managementEvent": True,
        "recipientAccountId": account,
        "eventCategory": "Management",
    }


def _parameters(call: Call) -> Event | None:
    parameters = call.audit_parameters
    if not parameters:
        return None
    size = len(_ENCODER.encode(parameters))
    if size <= MOST_PARAMETER_BYTES:
        return parameters
    return {"omitted": True, "originalSize": size, "reason": "requestParameters too large"}


def _resource(arn: str) -> Event:
    kind = "AWS::IAM::Role" if arn.startswith("arn:aws:iam:") else "AWS::KMS::Key"
    return {"accountId": arns.account_of(arn), "type": kind, "ARN": arn}


def user_identity(caller: Caller) -> Event:
    """https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-user-identity.html"""
    identity: Event = {
        "type": _IDENTITY_TYPES[caller.principal_type],
        "principalId": caller.principal_id,
        "arn": caller.principal_arn,
        "accountId": caller.account,
    }
    if caller.principal_type == "User":
        identity["userName"] = caller.user_name
    if caller.access_key_id:
        identity["accessKeyId"] = caller.access_key_id
    if caller.session_began_at is not None:
        identity["sessionContext"] = _session_context(caller, caller.session_began_at)
    if caller.via != "wire":
        identity["invokedBy"] = caller.via
    return identity


def _session_context(caller: Caller, began: datetime.datetime) -> Event:
    context: Event = {"attributes": {"creationDate": time_of(began), "mfaAuthenticated": "false"}}
    if caller.principal_type == "AssumedRole":
        context["sessionIssuer"] = {
            "type": "Role",
            "principalId": caller.identity_id,
            "arn": caller.role_arn,
            "accountId": caller.account,
            "userName": caller.role_arn.rpartition("/")[2],
        }
    if caller.source_identity:
        context["sourceIdentity"] = caller.source_identity
    return context


def time_of(moment: datetime.datetime) -> str:
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")


def time_in_response(moment: datetime.datetime) -> str:
    """A date as responseElements have it: Oct 14, 2021, 5:39:50 PM."""
    return f"{moment:%b %-d, %Y, %-I:%M:%S %p}"


def record_change(record: Event) -> None:
    """Write the event as a row. Call inside the transaction of the change."""
    AuditEvent.objects.create(**row(record))


def append(record: Event) -> None:
    """Write the event to this process's file. Raises OSError: then there must be no answer."""
    _file().append(record)


def row(record: Event) -> Event:
    """The columns of an AuditEvent, from the event."""
    resources = record.get("resources") or [{}]
    return {
        "event_id": record["eventID"],
        "event_time": datetime.datetime.fromisoformat(record["eventTime"]),
        "account": record["recipientAccountId"],
        "region": record["awsRegion"],
        "event_source": record["eventSource"],
        "event_name": record["eventName"],
        "principal": record["userIdentity"].get("arn") or record["userIdentity"].get("principalId", ""),
        "request_id": record.get("requestID", ""),
        # A sign-in that failed has a message and no code.
        "error_code": record.get("errorCode") or ("Failure" if record.get("errorMessage") else ""),
        "resource": resources[0].get("ARN", "")[:320],  # the column's length
        "event": record,
    }


def event_of_line(line: bytes) -> str:
    """The event in a line of an audit file, as its JSON was written. Raises ValueError for what is no such line."""
    if not line.startswith(_BEFORE_LINK) or not line.startswith(_BEFORE_EVENT, _EVENT_AT - len(_BEFORE_EVENT)):
        raise ValueError("a line of an audit file begins with its link in the chain")
    return line[_EVENT_AT:].rstrip().removesuffix(b"}").decode()


class ChainFile:
    """An append-only file of lines {"chain": hash, "event": {...}}; each hash covers the line before and the event.

    It is locked for as long as its writer lives, so that readers can tell when nothing more will come.
    """

    def __init__(self, folder: Path):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.chain_id = f"{clock.now():%Y%m%dT%H%M%S}-{os.getpid()}-{secrets.token_hex(4)}"
        self.path = folder / f"{self.chain_id}.jsonl"
        self._hash = hashlib.sha256(self.chain_id.encode()).hexdigest()
        self._end = 0  # of the last whole line
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        self._file: IO[bytes] = os.fdopen(descriptor, "ab", buffering=0)
        _sync_folder(folder)
        self.failed = False  # an fsync failed: what was written may be lost, so nothing more is trusted to this file
        self._lock = threading.Lock()
        self._unsynced = threading.Event()
        AuditChain.objects.create(chain_id=self.chain_id, file_name=self.path.name, started_at=clock.now())
        threading.Thread(target=self._keep_synced, name="audit fsync", daemon=True).start()

    def append(self, record: Event) -> None:
        text = _ENCODER.encode(record)
        with self._lock:
            link = hashlib.sha256((self._hash + text).encode()).hexdigest()
            line = f'{{"chain":"{link}","event":{text}}}\n'.encode()
            self._write(line)
            self._hash = link
        # What is set already is cleared only before the next fsync, which then takes this line with it.
        if not self._unsynced.is_set():
            self._unsynced.set()

    def close(self) -> None:
        """End the file: no call of this process is under way any more."""
        with self._lock:
            self._file.close()
        self._unsynced.set()

    def _write(self, line: bytes) -> None:
        """Write the whole line or nothing: the next record must not be glued to a half one (a disk that fills up)."""
        if self._file.write(line) != len(line):
            os.ftruncate(self._file.fileno(), self._end)
            raise OSError("the audit file took only a part of the record")
        self._end += len(line)

    def _keep_synced(self) -> None:
        while self._unsynced.wait():
            self._unsynced.clear()
            if self._file.closed:
                return
            try:
                os.fsync(self._file.fileno())
            except OSError:
                self.failed = True
                logger.exception("the audit file %s can't be written to disk; another one is begun", self.path.name)
                return
            time.sleep(FSYNC_SECONDS)


def _sync_folder(folder: Path) -> None:
    """Make a new file's name durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


_files: dict[int, ChainFile] = {}
_files_lock = threading.Lock()


def _file() -> ChainFile:
    """This process's file; a forked child opens its own."""
    found = _files.get(os.getpid())
    if found is None or found.failed:
        with _files_lock:
            found = _files.get(os.getpid())
            if found is None or found.failed:
                _files.clear()
                found = _files[os.getpid()] = ChainFile(settings.DATA / "audit")
    return found


def open_file() -> None:
    """Open this process's audit file now, so that no call has to."""
    _file()


def close_file() -> None:
    """Forget this process's file; the next event opens another (an installation's end within a process)."""
    with _files_lock:
        _files.clear()
