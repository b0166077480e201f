"""A client that sends half a request and falls silent does not keep a thread of the web server for ever."""

from __future__ import annotations

import socket
import time
from contextlib import ExitStack

from console import silent_connections
from kmsapp.testing import Casemate
from kmsapp.tests.http_shapes import written
from kmsapp.tests.raw_http import signed
from kmsapp.tests.signed_http import post


def test_a_silent_connection_is_ended_and_others_are_not() -> None:
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        other = socket.socketpair()  # of another kind
        pairs = []
        for _ in range(3):
            client = stack.enter_context(socket.create_connection(listener.getsockname()))
            pairs.append((client, stack.enter_context(listener.accept()[0])))
        (silent, its_end), (asks, asked), (_, answers) = pairs
        silent.sendall(b"half a request")
        time.sleep(0.5)
        asks.sendall(b"a request")
        answers.sendall(b"an answer")
        assert silent_connections.end(0.3) == 1
        assert its_end.recv(100) == b"half a request" and its_end.recv(1) == b""
        asked.settimeout(5)
        assert asked.recv(100) == b"a request"
        listener.settimeout(5)
        with socket.create_connection(listener.getsockname()):
            listener.accept()[0].close()
        other[0].send(b"x")
        assert other[1].recv(1) == b"x"
        for end in other:
            end.close()


def test_clients_that_fall_silent_in_the_head_keep_nobody_waiting(casemate: Casemate) -> None:
    half = written(signed(casemate))[:100]
    with ExitStack() as stack:
        for _ in range(50):
            connection = socket.create_connection(("127.0.0.1", casemate.server.port))
            stack.enter_context(connection).sendall(half)
        assert post(casemate, b"{}").status == 200
