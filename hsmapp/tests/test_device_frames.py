from __future__ import annotations

import contextlib
import json
import selectors
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest

from hsmapp.device.hashing import QUEUE_LENGTH, HashingThread, HashJob
from hsmapp.device.protocol import (
    HEADER,
    MAX_FRAME_BYTES,
    Connection,
    HsmAnswerError,
    HsmUnreachableError,
    pack,
    unpack,
)
from hsmapp.testing import WAIT_SECONDS
from hsmapp.tests.device_process import (
    PASSWORD,
    REPOSITORY,
    SHARED_DATA,
    DeviceProcess,
    MaskedKey,
    activated,
    ask,
    new_key,
)

IDLE_CONNECTIONS = 1000
FLOOD_CONNECTIONS = 400
WRONG_LOGINS = 10_000


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DeviceProcess]:
    running = activated(tmp_path_factory.mktemp("frames"))
    yield running
    running.stop()


def raw(device: DeviceProcess) -> socket.socket:
    connected = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connected.settimeout(5.0)
    connected.connect(str(device.socket))
    return connected


def read_answer(connected: socket.socket) -> Any:
    received = b""
    while len(received) < 4 or len(received) < 4 + HEADER.unpack_from(received)[0]:
        part = connected.recv(70_000)
        if not part:
            return None
        received += part
    return unpack(received[4:])


def exchange(device: DeviceProcess, frame: bytes) -> Any:
    """Send these bytes; return the answer, or None if the connection ended instead."""
    with raw(device) as connected:
        try:
            connected.sendall(frame)
            return read_answer(connected)
        except (BrokenPipeError, ConnectionResetError):
            return None


def frame(payload: bytes) -> bytes:
    return HEADER.pack(len(payload)) + payload


ENDING = {
    "oversized by one byte": HEADER.pack(MAX_FRAME_BYTES + 1) + bytes(MAX_FRAME_BYTES + 1),
    "a length of 4 GiB": b"\xff\xff\xff\xff",
    "an HTTP request": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "empty": frame(b""),
    "a byte that msgpack never uses": frame(b"\xc1"),
    "a map cut short": frame(b"\x82\xa1a"),
    "two values": frame(b"\xc0\xc0"),
    "a string that promises 4 GiB": frame(b"\xdb\xff\xff\xff\xffabc"),
    "text that is not UTF-8": frame(b"\x92\xa2\xff\xfe\x80"),
    "an array with unhashable map keys": frame(b"\x81\x90\xc0"),
}


@pytest.mark.parametrize("sent", ENDING.values(), ids=ENDING)
def test_what_is_no_frame_ends_its_connection_and_no_other(device: DeviceProcess, sent: bytes) -> None:
    with device.connect() as other:
        assert exchange(device, sent) is None
        ask(other, "hello")


REFUSED = {
    "nil": None,
    "a number": 7,
    "an empty array": [],
    "a name alone": ["hello"],
    "three parts": ["hello", {}, {}],
    "a name in bytes": [b"hello", {}],
    "arguments in an array": ["hello", []],
    "an unknown operation": ["format_disk", {}],
    "a name of Python's": ["__class__", {}],
    "an unknown argument": ["hello", {"x": 1}],
    "a numbered argument": ["hello", {1: 1}],
    "a missing argument": ["login", {"user": "kmsuser"}],
    "a nested argument": ["login", {"user": {"a": ["b"]}, "password": "x", "client": "c"}],
    "bytes for text": ["login", {"user": b"kmsuser", "password": "x", "client": "c"}],
    "a password in an array": ["login", {"user": "kmsuser", "password": ["x"], "client": "c"}],
    "an extension type": ["control", {"secret": msgpack.ExtType(5, b"x")}],
    "a timestamp": ["control", {"secret": msgpack.Timestamp(1)}],
    "text for bytes": ["control", {"secret": "x"}],
    "a secret that is too long": ["control", {"secret": bytes(9000)}],
    "a user name with NUL": ["login", {"user": "kms\0user", "password": "x", "client": "c"}],
}


@pytest.mark.parametrize("request_", REFUSED.values(), ids=REFUSED)
def test_a_request_of_wrong_types_is_a_bad_request(device: DeviceProcess, request_: Any) -> None:
    with raw(device) as connected:
        connected.sendall(frame(msgpack.packb(request_)))
        kind, name, message = read_answer(connected)
        assert (kind, name) == ("error", "BadRequest")
        assert "kms\0user" not in message
        connected.sendall(pack(["hello", {}]))
        assert read_answer(connected)[0] == "ok"


@pytest.mark.parametrize("depth", [100, 1000, 30_000, 60_000])
def test_deep_nesting_is_a_bad_request(device: DeviceProcess, depth: int) -> None:
    assert exchange(device, frame(b"\x91" * depth + b"\xc0"))[:2] == ["error", "BadRequest"]


BAD_ARGUMENTS = {
    "a label with the reserved prefix": ("generate_key", {"label": "casemate masking key", "id": "0" * 64}),
    "an empty label": ("generate_key", {"label": "", "id": "0" * 64}),
    "an id in capitals": ("generate_key", {"label": "key", "id": "A" * 64}),
    "an id with a line end": ("generate_key", {"label": "key", "id": "0" * 64 + "\n"}),
    "an id that is too short": ("generate_key", {"label": "key", "id": "0" * 63}),
    "an IV given to encrypt": (
        "encrypt",
        {"label": "k", "check": bytes(60), "plaintext": b"", "aad": b"", "iv": bytes(12)},
    ),
    "a plaintext over 8 KiB": ("encrypt", {"label": "k", "check": bytes(60), "plaintext": bytes(8193), "aad": b""}),
    "an IV of 13 bytes": ("decrypt", {"label": "k", "check": bytes(60), "iv": bytes(13), "sealed": b"", "aad": b""}),
    "a check of 61 bytes": ("decrypt", {"label": "k", "check": bytes(61), "iv": bytes(12), "sealed": b"", "aad": b""}),
    "a negative length": ("random", {"length": -1}),
    "a length of true": ("random", {"length": True}),
    "a page of 501": ("list_keys", {"limit": 501}),
    "an owner given by a user": (
        "restore_key",
        {"label": "k", "id": "0" * 64, "masked": b"x", "check": bytes(60), "owner": "x"},
    ),
}


@pytest.mark.parametrize(("op", "args"), BAD_ARGUMENTS.values(), ids=BAD_ARGUMENTS)
def test_arguments_are_checked(device: DeviceProcess, op: str, args: dict[str, Any]) -> None:
    with device.login("kmsuser", PASSWORD) as connection:
        with pytest.raises(HsmAnswerError) as refused:
            ask(connection, op, **args)
        assert refused.value.name == "BadRequest"


def test_random_bytes_as_frames_do_no_harm(device: DeviceProcess) -> None:
    import random

    source, answered = random.Random(7), 0  # noqa: S311 - repeatable noise
    for _ in range(500):
        payload = source.randbytes(source.randrange(1, 60))
        answered += exchange(device, frame(payload)) is not None
    with device.connect() as connection:
        ask(connection, "hello")
    print(f"500 random frames, {answered} answered with BadRequest, the others ended")


def test_hostile_text_as_names_is_answered(device: DeviceProcess) -> None:
    path = SHARED_DATA / "payloads" / "blns.json"
    if not path.exists():
        pytest.skip("the shared test data is not here")
    texts = json.loads(path.read_text())
    with device.connect() as connection:
        for text in texts:
            with pytest.raises(HsmAnswerError):
                ask(connection, "login", user=text, password=text, client="test")
    print(f"{len(texts)} hostile texts as user and password")


def raw_login(device: DeviceProcess) -> socket.socket:
    connected = raw(device)
    connected.sendall(pack(["login", {"user": "kmsuser", "password": PASSWORD, "client": "test"}]))
    assert read_answer(connected) == ["ok", {"role": "crypto-user"}]
    return connected


def test_requests_sent_ahead_are_answered_in_order(device: DeviceProcess) -> None:
    received, lengths = b"", list[int]()
    with raw_login(device) as connected:
        connected.sendall(b"".join(pack(["random", {"length": length}]) for length in range(1, 201)))
        while len(lengths) < 200:
            received += connected.recv(65536)
            while len(received) >= 4 and len(received) >= (end := 4 + HEADER.unpack_from(received)[0]):
                lengths.append(len(unpack(received[4:end])[1]["data"]))
                received = received[end:]
    assert lengths == list(range(1, 201))


def test_a_login_in_progress_holds_back_what_was_sent_behind_it(device: DeviceProcess) -> None:
    login = ["login", {"user": "kmsuser", "password": PASSWORD, "client": "test"}]
    with raw(device) as connected:
        connected.sendall(pack(login) + pack(["random", {"length": 8}]) + pack(["no such", {}]))
        answers = b""
        while answers.count(b"BadRequest") == 0:
            answers += connected.recv(65536)
    assert answers.startswith(pack(["ok", {"role": "crypto-user"}]))
    assert b"NotLoggedIn" not in answers


def test_a_client_that_hangs_up_while_its_password_is_hashed_is_forgotten(device: DeviceProcess) -> None:
    login = ["login", {"user": "kmsuser", "password": PASSWORD, "client": "gone"}]
    for _ in range(8):
        with raw(device) as connected:
            connected.sendall(pack(login))
    with device.login("kmsuser", PASSWORD, "here") as connection:
        assert ask(connection, "clients")["clients"] == {"here": 1}


def closed_after(connections: dict[str, socket.socket], seconds: float) -> dict[str, float]:
    """Wait until each connection has ended; return after how many seconds each did."""
    began, ended = time.monotonic(), {}
    with selectors.DefaultSelector() as selector:
        for name, connected in connections.items():
            connected.setblocking(False)
            selector.register(connected, selectors.EVENT_READ, name)
        while selector.get_map() and time.monotonic() - began < seconds:
            for key, _events in selector.select(0.2):
                connected = connections[key.data]
                with contextlib.suppress(BlockingIOError):
                    if not connected.recv(65536):
                        ended[key.data] = time.monotonic() - began
                        selector.unregister(connected)
            # One byte of a frame at a time, which must not count as a frame.
            with contextlib.suppress(OSError):
                connections["one byte at a time"].send(b"\0" if "one byte at a time" not in ended else b"")
    return ended


def test_slow_senders_slow_readers_and_idle_strangers_lose_their_connections(device: DeviceProcess) -> None:
    user = device.login("kmsuser", PASSWORD)
    greedy = raw_login(device)
    greedy.setblocking(False)
    request = pack(["random", {"length": 1024}])
    # Never reads: the socket's buffers fill up, then the HSM process holds one answer for 5 s.
    with contextlib.suppress(BlockingIOError):
        while True:
            greedy.send(request)
    senders = {"idle": raw(device), "one byte at a time": raw(device), "half a frame": raw(device)}
    senders["one byte at a time"].sendall(HEADER.pack(1000))
    senders["half a frame"].sendall(HEADER.pack(1000) + b"\x92")
    ended = closed_after(senders, 14.0)
    assert ended.keys() == senders.keys()
    assert 4.5 < ended["one byte at a time"] < 7
    assert 4.5 < ended["half a frame"] < 7
    assert 9.5 < ended["idle"] < 12
    greedy.settimeout(5.0)
    with contextlib.suppress(ConnectionResetError):
        while greedy.recv(1 << 20):
            pass  # drains what the kernel held; then the end of the connection
    # Whoever has logged in may be silent.
    ask(user, "list_users")
    for connected in senders.values():
        connected.close()
    greedy.close()
    user.close()
    print({name: round(seconds, 1) for name, seconds in ended.items()})


def encrypt_micros(connection: Connection, key: MaskedKey, count: int) -> list[float]:
    micros = []
    for _ in range(count):
        before = time.perf_counter()
        ask(connection, "encrypt", label=key.label, check=key.check, plaintext=bytes(32), aad=bytes(100))
        micros.append((time.perf_counter() - before) * 1e6)
    return micros


@pytest.mark.alone
def test_a_thousand_idle_connections_slow_nobody(device: DeviceProcess) -> None:
    with device.login("kmsuser", PASSWORD) as connection:
        key = new_key(connection)
        alone = statistics.median(encrypt_micros(connection, key, 1000))
        idle = []
        for _ in range(IDLE_CONNECTIONS):
            idle.append(raw(device))
        crowded = statistics.median(encrypt_micros(connection, key, 1000))
        for connected in idle:
            connected.close()
        ask(connection, "list_users")
    print(f"encrypt {alone:.0f} us alone, {crowded:.0f} us beside {IDLE_CONNECTIONS} idle connections")
    assert crowded < 3 * alone + 200


@pytest.mark.alone
def test_ten_thousand_wrong_logins_make_nobody_else_wait(device: DeviceProcess) -> None:
    """Neither whoever uses keys nor whoever logs in meanwhile, from another process than the flood."""
    with device.login("kmsuser", PASSWORD) as connection:
        key = new_key(connection)
        alone = encrypt_micros(connection, key, 500)
        command = [sys.executable, "-m", "hsmapp.tests.login_flood", str(device.socket)]
        flood = subprocess.Popen(
            [*command, str(FLOOD_CONNECTIONS), str(WRONG_LOGINS)], stdout=subprocess.PIPE, cwd=REPOSITORY
        )
        flooded, logins = list[float](), list[float]()
        while flood.poll() is None:
            flooded += encrypt_micros(connection, key, 20)
            began = time.monotonic()
            device.login("kmsuser", PASSWORD).close()
            logins.append(time.monotonic() - began)
    assert flood.stdout is not None
    told = json.loads(flood.stdout.read())
    flood.stdout.close()
    answers = told["answers"]
    slowest = sorted(flooded)[int(len(flooded) * 0.99)]
    print(
        f"{sum(answers.values())} wrong logins over {FLOOD_CONNECTIONS} connections ({answers['Busy']} told to come"
        f" again, the longest wait {told['slowest_seconds']:.2f} s); encrypt {statistics.median(alone):.0f} us alone,"
        f" {statistics.median(flooded):.0f} us meanwhile, {slowest:.0f} us at 99 %; {len(logins)} logins, the longest"
        f" {max(logins):.2f} s"
    )
    assert sum(answers.values()) == WRONG_LOGINS
    assert answers.keys() == {"UserNotFound", "WrongPassword", "Busy"}
    # The queue is 16 hashes of 10 ms long, so nobody waits for more than some tenths of a second; a machine that is
    # ten times too busy gets ten times that.
    assert len(logins) > 3
    assert max([*logins, told["slowest_seconds"]]) < 5.0
    # What a call that uses a key may take.
    assert slowest < 1_000_000


def test_one_client_process_cannot_keep_others_from_logging_in() -> None:
    """The hashing thread's queue is full of one client's jobs, then another client comes."""
    started, released = threading.Event(), threading.Event()
    thread = HashingThread()

    def work() -> None:
        started.set()
        released.wait()

    def submit(name: str, client: int) -> object:
        return thread.submit(HashJob(bool, dict), name, client)

    thread.submit(HashJob(work, dict), "under way", 1)
    assert started.wait(WAIT_SECONDS)
    flood = [f"flood {number}" for number in range(QUEUE_LENGTH + 3)]
    assert [submit(name, 1) for name in flood] == [None] * QUEUE_LENGTH + flood[QUEUE_LENGTH:]
    # Half of the places are the most that a second client can take from the first, and a third has its share of both.
    half = QUEUE_LENGTH // 2
    other = [f"other {number}" for number in range(half + 2)]
    displaced = flood[half:QUEUE_LENGTH]
    assert [submit(name, 2) for name in other] == [*reversed(displaced), *other[half:]]
    assert {submit(f"third {number}", 3) for number in range(4)} <= {*flood[:half], *other[:half]}
    released.set()


def test_a_connection_says_when_its_hsm_is_gone(tmp_path: Path) -> None:
    other = DeviceProcess(tmp_path, "hsm-zyxwvutsrqp").start()
    connection = other.connect()
    other.kill()
    with pytest.raises(HsmUnreachableError):
        ask(connection, "hello")
    assert connection.closed
    with pytest.raises(HsmUnreachableError):
        ask(connection, "hello")
    with pytest.raises(HsmUnreachableError):
        other.connect()


@pytest.mark.alone
def test_a_deadline_covers_the_whole_answer(tmp_path: Path) -> None:
    """A server that sends one byte of a good answer every 30 ms is not waited for."""
    path = tmp_path / "slow.sock"
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listening.bind(str(path))
    listening.listen()

    def answer_slowly() -> None:
        connected, _address = listening.accept()
        with connected, contextlib.suppress(OSError):
            for byte in pack(["ok", {"data": bytes(200)}]):
                connected.send(bytes([byte]))
                time.sleep(0.03)

    thread = threading.Thread(target=answer_slowly)
    thread.start()
    connection = Connection.connect(path)
    before = time.monotonic()
    with pytest.raises(HsmUnreachableError):
        connection.call("hello", {}, deadline_seconds=0.2)
    assert time.monotonic() - before < 0.4
    thread.join()
    listening.close()
