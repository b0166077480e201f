"""A client process that floods an HSM process with wrong logins, each of its connections one after another.

`python -m hsmapp.tests.login_flood <socket> <connections> <logins>` prints a line of JSON: how often each answer came
and the longest wait for one, in seconds.
"""

from __future__ import annotations

import json
import selectors
import socket
import sys
import time
from collections import Counter

from hsmapp.device.protocol import HEADER, pack, unpack

USERS = ("nobody", "mallory", "admin", "eve")
RECEIVED = 65536


def frame(number: int) -> bytes:
    login = {"user": USERS[number % len(USERS)], "password": "wrong-password", "client": "flood"}
    return pack(["login", login])


def flood(path: str, connections: int, logins: int) -> tuple[Counter[str], float]:
    answers: Counter[str] = Counter()
    slowest, sent = 0.0, 0
    with selectors.DefaultSelector() as selector:
        for _ in range(min(connections, logins)):
            connected = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            connected.connect(path)
            connected.sendall(frame(sent))
            sent += 1
            selector.register(connected, selectors.EVENT_READ, time.monotonic())
        while selector.get_map():
            for key, _events in selector.select():
                connected = key.fileobj  # type: ignore[assignment]  # what was registered above
                answer = unpack(connected.recv(RECEIVED)[HEADER.size :])
                answers[answer[1]] += 1
                slowest = max(slowest, time.monotonic() - key.data)
                if sent == logins:
                    selector.unregister(connected)
                    connected.close()
                    continue
                connected.sendall(frame(sent))
                sent += 1
                selector.modify(connected, selectors.EVENT_READ, time.monotonic())
    return answers, slowest


def main() -> None:
    answers, slowest = flood(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
    print(json.dumps({"answers": answers, "slowest_seconds": slowest}), flush=True)


if __name__ == "__main__":
    main()
