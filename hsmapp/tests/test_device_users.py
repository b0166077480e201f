from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from hsmapp.device.hsm_users import HsmUsers, UsersFileError, hash_password
from hsmapp.device.protocol import HEADER, Connection, HsmAnswerError, HsmUnreachableError, pack, unpack
from hsmapp.tests.device_process import ADMIN_PASSWORD, DEADLINE, PASSWORD, DeviceProcess, activated, ask, new_key


@pytest.fixture
def device(tmp_path: Path) -> Iterator[DeviceProcess]:
    running = activated(tmp_path)
    yield running
    running.stop()


def refusal(connection: Connection, op: str, **args: object) -> str:
    with pytest.raises(HsmAnswerError) as refused:
        ask(connection, op, **args)
    return refused.value.name


def login_refusal(device: DeviceProcess, user: str, password: str) -> str:
    with device.connect() as connection:
        return refusal(connection, "login", user=user, password=password, client="test")


def test_five_wrong_logins_lock_a_crypto_user_until_an_admin_changes_the_password(device: DeviceProcess) -> None:
    assert [login_refusal(device, "kmsuser", "wrong-password") for _ in range(6)] == ["WrongPassword"] * 5 + [
        "UserLocked"
    ]
    assert login_refusal(device, "kmsuser", PASSWORD) == "UserLocked"
    device.restart()
    with device.control() as control:
        ask(control, "serve")
        assert ["kmsuser", "crypto-user", True] in ask(control, "list_users")["users"]
    assert login_refusal(device, "kmsuser", PASSWORD) == "UserLocked"
    with device.login("admin", ADMIN_PASSWORD) as admin:
        ask(admin, "change_password", user="kmsuser", password="another-password")
    with device.login("kmsuser", "another-password") as connection:
        assert ask(connection, "list_keys")["keys"] == []


def test_a_right_login_resets_the_failure_count(device: DeviceProcess) -> None:
    for _ in range(3):
        for _ in range(4):
            assert login_refusal(device, "KMSUser", "wrong-password") == "WrongPassword"
        device.login("KMSUser", PASSWORD).close()


def test_an_admin_is_never_locked(device: DeviceProcess) -> None:
    assert {login_refusal(device, "admin", "wrong-password") for _ in range(8)} == {"WrongPassword"}
    device.login("admin", ADMIN_PASSWORD).close()


def test_an_unknown_user_is_named_as_such(device: DeviceProcess) -> None:
    assert login_refusal(device, "mallory", PASSWORD) == "UserNotFound"


ROLE_CASES = {
    "nobody may encrypt": (None, "encrypt", "NotLoggedIn"),
    "nobody may list users": (None, "list_users", "NotLoggedIn"),
    "nobody may ask for health": (None, "health", "NotLoggedIn"),
    "an admin may not use keys": ("admin", "encrypt", "NotPermitted"),
    "an admin may not generate keys": ("admin", "generate_key", "NotPermitted"),
    "an admin may not export users": ("admin", "export_users", "NotPermitted"),
    "a crypto user may not create users": ("kmsuser", "create_user", "NotPermitted"),
    "a crypto user may not trust a key": ("kmsuser", "trust_key", "NotPermitted"),
    "a crypto user may not wrap the masking key": ("kmsuser", "wrap_masking_key", "NotPermitted"),
    "a crypto user may not serve": ("kmsuser", "serve", "NotPermitted"),
    "a crypto user may not check others' keys": ("kmsuser", "check_key", "NotPermitted"),
    "the supervisor may not use keys": ("supervisor", "decrypt", "NotPermitted"),
}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DeviceProcess]:
    running = activated(tmp_path_factory.mktemp("users"))
    yield running
    running.stop()


@pytest.mark.parametrize(("who", "op", "answer"), ROLE_CASES.values(), ids=ROLE_CASES)
def test_roles(shared: DeviceProcess, who: str | None, op: str, answer: str) -> None:
    match who:
        case None:
            connection = shared.connect()
        case "supervisor":
            connection = shared.control()
        case "admin":
            connection = shared.login("admin", ADMIN_PASSWORD)
        case _:
            connection = shared.login(who, PASSWORD)
    with connection:
        assert refusal(connection, op) == answer


def test_a_crypto_user_changes_its_own_password_and_no_other(shared: DeviceProcess) -> None:
    with shared.login("kmsuser", PASSWORD) as connection:
        assert refusal(connection, "change_password", user="admin", password="another-password") == "NotPermitted"
        ask(connection, "change_password", user="kmsuser", password="another-password")
        assert login_refusal(shared, "kmsuser", PASSWORD) == "WrongPassword"
        ask(connection, "change_password", user="kmsuser", password=PASSWORD)
    shared.login("kmsuser", PASSWORD).close()


def frozen_while(device: DeviceProcess, *requests: tuple[Connection, str, Mapping[str, object]]) -> list[Any]:
    """Send all requests, in this order, to a process that reads them only afterwards; return the answers."""
    sockets = [connection._socket for connection, _op, _args in requests]
    device.freeze()
    for connected, (_connection, op, args) in zip(sockets, requests, strict=True):
        assert connected is not None
        connected.sendall(pack([op, args]))
    device.running.send_signal(signal.SIGCONT)
    answers = []
    for connected in sockets:
        assert connected is not None
        connected.settimeout(DEADLINE)
        answers.append(unpack(connected.recv(65536)[HEADER.size :]))
    return answers


def test_a_login_that_overlaps_a_change_is_judged_by_the_new_password(device: DeviceProcess) -> None:
    """The login is queued behind the change's hash, while the old password still counts."""
    with device.login("kmsuser", PASSWORD) as first, device.connect() as late, device.connect() as early:
        old = {"user": "kmsuser", "password": PASSWORD, "client": "late"}
        new = {"user": "kmsuser", "password": "another-password", "client": "early"}
        answers = frozen_while(
            device,
            (first, "change_password", {"user": "kmsuser", "password": "another-password"}),
            (late, "login", old),
            (early, "login", new),
        )
        assert [answer[:2] for answer in answers] == [["ok", {}], ["error", "WrongPassword"], ["ok", answers[2][1]]]


def test_logins_with_the_new_password_during_a_change_lock_nobody_out(device: DeviceProcess) -> None:
    new = {"user": "kmsuser", "password": "another-password", "client": "pool"}
    with device.login("kmsuser", PASSWORD) as first:
        pool = [device.connect() for _ in range(6)]
        change = {"user": "kmsuser", "password": "another-password"}
        answers = frozen_while(
            device, (first, "change_password", change), *((connection, "login", new) for connection in pool)
        )
        assert [answer[0] for answer in answers] == ["ok"] * 7
        for connection in pool:
            connection.close()


def test_a_change_that_was_overtaken_by_another_changes_nothing(device: DeviceProcess) -> None:
    first, second = device.login("kmsuser", PASSWORD), device.login("kmsuser", PASSWORD)
    with first, second:
        ask(second, "change_password", user="kmsuser", password="the-second-password")
        assert refusal(first, "change_password", user="kmsuser", password="the-first-password") == "PasswordChanged"
        ask(second, "change_password", user="kmsuser", password="the-third-password")
        ask(first, "list_keys")
        both = frozen_while(
            device,
            (second, "change_password", {"user": "kmsuser", "password": "the-fourth-password"}),
            (first, "change_password", {"user": "kmsuser", "password": "the-fifth-password"}),
        )
        assert [both[0], both[1][:2]] == [["ok", {}], ["error", "PasswordChanged"]]
    device.login("kmsuser", "the-fourth-password").close()


def test_an_hsm_that_was_frozen_does_not_do_what_its_client_no_longer_waits_for(device: DeviceProcess) -> None:
    with device.login("kmsuser", PASSWORD) as connection:
        key = new_key(connection)
    impatient = device.login("kmsuser", PASSWORD)
    device.freeze()
    with pytest.raises(HsmUnreachableError):
        impatient.call("destroy_key", {"label": key.label, "id": key.id}, deadline_seconds=0.05)
    device.running.send_signal(signal.SIGCONT)
    with device.login("kmsuser", PASSWORD) as connection:
        assert ask(connection, "list_keys")["keys"] == [[key.label, key.id]]


@pytest.mark.parametrize("password", ["short", "x" * 33, "with-a-nul\0"], ids=["too short", "too long", "NUL"])
def test_unusable_passwords_are_refused(shared: DeviceProcess, password: str) -> None:
    with shared.login("admin", ADMIN_PASSWORD) as admin:
        assert refusal(admin, "create_user", user="carol", role="crypto-user", password=password) == "BadRequest"


def test_a_user_who_is_logged_in_or_owns_keys_cannot_be_deleted(device: DeviceProcess) -> None:
    with device.login("admin", ADMIN_PASSWORD) as admin:
        with device.login("kmsuser", PASSWORD) as connection:
            key = new_key(connection)
            assert refusal(admin, "delete_user", user="kmsuser") == "NotPermitted"
        assert refusal(admin, "delete_user", user="kmsuser") == "NotPermitted"
        with device.login("kmsuser", PASSWORD) as connection:
            ask(connection, "destroy_key", label=key.label, id=key.id)
        while ask(admin, "list_users")["users"] != [["admin", "admin", False]]:
            try:
                ask(admin, "delete_user", user="kmsuser")
            except HsmAnswerError as error:  # the HSM has not seen yet that the connection ended
                assert error.name == "NotPermitted"
        assert refusal(admin, "delete_user", user="admin") == "NotPermitted"


def test_a_second_user_of_one_name_is_refused_whatever_its_case(shared: DeviceProcess) -> None:
    with shared.login("admin", ADMIN_PASSWORD) as admin:
        assert refusal(admin, "create_user", user="KmsUser", role="crypto-user", password=PASSWORD) == "UserExists"
    with shared.control() as control:
        assert refusal(control, "activate", password=ADMIN_PASSWORD) == "UserExists"


def test_ending_a_client_ends_all_its_connections_and_no_other(shared: DeviceProcess) -> None:
    service = [shared.login("kmsuser", PASSWORD, "service") for _ in range(3)]
    other = shared.login("kmsuser", PASSWORD, "other")
    admin = shared.login("admin", ADMIN_PASSWORD, "service")
    assert ask(other, "clients")["clients"] == {"service": 3, "other": 1}
    assert ask(service[0], "end_client", client="service") == {"ended": 3}
    for connection in service:
        with pytest.raises(HsmUnreachableError):
            ask(connection, "list_keys")
    assert ask(other, "clients")["clients"] == {"other": 1}
    ask(admin, "list_users")
    other.close()
    admin.close()


def test_standby_ends_crypto_users_and_refuses_new_ones_but_keeps_admins(shared: DeviceProcess) -> None:
    user, admin = shared.login("kmsuser", PASSWORD), shared.login("admin", ADMIN_PASSWORD)
    with shared.control() as control:
        ask(control, "standby")
        with pytest.raises(HsmUnreachableError):
            ask(user, "list_keys")
        assert login_refusal(shared, "kmsuser", PASSWORD) == "NotServing"
        ask(admin, "list_users")
        ask(control, "serve")
    admin.close()
    shared.login("kmsuser", PASSWORD).close()


def test_a_wrong_control_secret_ends_the_connection(shared: DeviceProcess) -> None:
    with shared.connect() as connection, pytest.raises(HsmUnreachableError):
        ask(connection, "control", secret=bytes(32))


def test_a_users_table_moves_to_another_hsm_page_by_page(tmp_path: Path, shared: DeviceProcess) -> None:
    other = DeviceProcess(tmp_path, "hsm-zyxwvutsrqp").start()
    with shared.control() as giver, other.control() as taker:
        page = ask(giver, "export_users")
        assert page["next"] == ""
        ask(taker, "import_users", users=page["users"])
        ask(taker, "serve")
        assert ask(taker, "list_users") == ask(giver, "list_users")
        assert refusal(taker, "import_users", users=b"no table") == "BadRequest"
    other.login("kmsuser", PASSWORD).close()
    other.stop()


def test_a_table_survives_its_file_and_a_damaged_file_is_said_to_be_one(tmp_path: Path) -> None:
    users = HsmUsers(tmp_path / "users")
    users.create("alice", "admin", hash_password("a password"))
    assert [user.name for user in HsmUsers(tmp_path / "users").all()] == ["alice"]
    assert "a password" not in repr(users.get("alice"))
    (tmp_path / "users").write_bytes(b"\x93")
    with pytest.raises(UsersFileError):
        HsmUsers(tmp_path / "users")
