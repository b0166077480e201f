"""Two real HSM processes share a masking key, and the keys under it, without either token giving one away in clear."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from hsmapp.device.protocol import Connection, HsmAnswerError
from hsmapp.tests.device_process import PASSWORD, DeviceProcess, ask, generate

FIRST, SECOND = "hsm-abcdefghijk", "hsm-zyxwvutsrqp"


def refusal(connection: Connection, op: str, **args: object) -> str:
    with pytest.raises(HsmAnswerError) as refused:
        ask(connection, op, **args)
    return refused.value.name


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[DeviceProcess, DeviceProcess]]:
    devices = DeviceProcess(tmp_path, FIRST).start(), DeviceProcess(tmp_path, SECOND).start()
    for device in devices:
        with device.control() as control:
            ask(control, "create_user", user="kmsuser", role="crypto-user", password=PASSWORD)
    yield devices
    for device in devices:
        device.stop()


def hand_over(giver: DeviceProcess, taker: DeviceProcess) -> None:
    with giver.control() as give, taker.control() as take:
        shown = ask(take, "identity")
        ask(give, "trust_key", so_pin=giver.so_pin, label=taker.hsm_id, public=shown["transport_public"])
        ask(take, "unwrap_masking_key", wrapped=ask(give, "wrap_masking_key", label=taker.hsm_id)["wrapped"])


def serve(device: DeviceProcess) -> Connection:
    with device.control() as control:
        ask(control, "serve")
    return device.login("kmsuser", PASSWORD)


def test_what_one_hsm_encrypts_the_other_decrypts(pair: tuple[DeviceProcess, DeviceProcess]) -> None:
    first, second = pair
    with first.control() as control:
        ask(control, "make_masking_key")
    hand_over(first, second)
    for device in pair:
        device.restart()
    with serve(first) as one, serve(second) as two:
        key = generate(one)
        for connection in (one, two):
            assert ask(connection, "restore_key", **key.arguments) == {"made": True}
        for here, there in ((one, two), (two, one)):
            sealed = ask(here, "encrypt", label=key.label, check=key.check, plaintext=b"secret", aad=b"aad")
            opened = ask(there, "decrypt", label=key.label, check=key.check, aad=b"aad", **sealed)
            assert opened == {"plaintext": b"secret"}


def test_trusting_a_key_keeps_the_keys_that_are_there(pair: tuple[DeviceProcess, DeviceProcess]) -> None:
    first, _second = pair
    with first.control() as control:
        ask(control, "make_masking_key")
        ask(control, "serve")
        with first.login("kmsuser", PASSWORD) as user:
            key = generate(user)
            ask(user, "restore_key", **key.arguments)
            sealed = ask(user, "encrypt", label=key.label, check=key.check, plaintext=b"secret", aad=b"")
        public = rsa_public()
        assert refusal(control, "trust_key", so_pin=first.so_pin, label="peer", public=public) == "NotPermitted"
        ask(control, "standby")
        assert refusal(control, "trust_key", so_pin="0" * 32, label="peer", public=public) == "TokenFailed"
        assert refusal(control, "trust_key", so_pin=first.so_pin, label="peer", public=b"no key") == "BadRequest"
        assert refusal(control, "trust_key", so_pin=first.so_pin, label="peer", public=ec_public()) == "BadRequest"
        ask(control, "trust_key", so_pin=first.so_pin, label="peer", public=public)
        answer = ask(control, "masking_key")
        assert (answer["present"], answer["trusted"]) == (True, ["peer"])
    with serve(first) as user:
        opened = ask(user, "decrypt", label=key.label, check=key.check, aad=b"", **sealed)
        assert opened == {"plaintext": b"secret"}


def rsa_public(private: rsa.RSAPrivateKey | None = None) -> bytes:
    private = private or rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return private.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def ec_public() -> bytes:
    return (
        ec.generate_private_key(ec.SECP256R1())
        .public_key()
        .public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    )


def test_the_transport_key_is_signed_by_the_identity_key(pair: tuple[DeviceProcess, DeviceProcess]) -> None:
    shown: list[dict[str, Any]] = []
    for device in pair:
        with device.control() as control:
            shown.append(ask(control, "identity"))
            request = ask(control, "sign", data=b"certificate request")["signature"]
        identity = serialization.load_der_public_key(shown[-1]["identity_public"])
        assert isinstance(identity, rsa.RSAPublicKey)
        identity.verify(
            shown[-1]["transport_signature"], shown[-1]["transport_public"], padding.PKCS1v15(), hashes.SHA256()
        )
        identity.verify(request, b"certificate request", padding.PKCS1v15(), hashes.SHA256())
    other = serialization.load_der_public_key(shown[1]["identity_public"])
    assert isinstance(other, rsa.RSAPublicKey)
    with pytest.raises(InvalidSignature):
        other.verify(shown[0]["transport_signature"], shown[0]["transport_public"], padding.PKCS1v15(), hashes.SHA256())
    assert len({entry[name] for entry in shown for name in entry}) == 6


def test_only_a_trusted_key_wraps_the_masking_key(pair: tuple[DeviceProcess, DeviceProcess]) -> None:
    first, _second = pair
    with first.control() as control:
        assert refusal(control, "wrap_masking_key", label="peer") == "MaskingKeyMissing"
        assert refusal(control, "generate_key", label="key", id="0" * 64) == "MaskingKeyMissing"
        ask(control, "make_masking_key")
        assert refusal(control, "wrap_masking_key", label="peer") == "KeyNotFound"
        assert refusal(control, "make_masking_key") == "KeyExists"
        assert refusal(control, "unwrap_masking_key", wrapped=bytes(256)) == "KeyExists"


def test_a_masking_key_wrapped_for_another_hsm_does_not_open(pair: tuple[DeviceProcess, DeviceProcess]) -> None:
    first, second = pair
    with first.control() as one, second.control() as two:
        ask(one, "make_masking_key")
        ask(one, "trust_key", so_pin=first.so_pin, label="other", public=rsa_public())
        wrapped = ask(one, "wrap_masking_key", label="other")["wrapped"]
        for wrong in (wrapped, bytes(256), b"x"):
            assert refusal(two, "unwrap_masking_key", wrapped=wrong) == "MaskedKeyWrong"
        assert ask(two, "masking_key")["present"] is False
        assert ask(two, "health")["debris"] == 0


def test_the_backup_key_restores_everything_into_an_empty_token(pair: tuple[DeviceProcess, DeviceProcess]) -> None:
    first, second = pair
    backup = rsa.generate_private_key(public_exponent=65537, key_size=3072)
    private = backup.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with first.control() as one, second.control() as two:
        ask(one, "make_masking_key")
        ask(one, "trust_key", so_pin=first.so_pin, label="backup", public=rsa_public(backup))
        wrapped = ask(one, "wrap_masking_key", label="backup")["wrapped"]
        key, other = generate(one, "test key"), generate(one, "other key")
        backed_up = {"wrapped": wrapped, "private": private}
        assert ask(one, "try_backup", **backed_up, **key.arguments) == {}
        for wrong in (
            backed_up | key.arguments | {"masked": other.masked},
            backed_up | key.arguments | {"check": other.check},
            backed_up | key.arguments | {"id": secrets.token_hex(32)},
            backed_up | key.arguments | {"wrapped": bytes(384)},
        ):
            assert refusal(two, "try_backup", **wrong) == "MaskedKeyWrong"
        assert refusal(two, "try_backup", **(backed_up | key.arguments | {"private": b"none"})) == "BadRequest"
        ask(two, "try_backup", **backed_up, **key.arguments)
        assert ask(two, "masking_key")["present"] is False
        assert refusal(two, "take_backup", **(backed_up | {"wrapped": bytes(384)})) == "MaskedKeyWrong"
        assert refusal(two, "take_backup", **(backed_up | {"private": b"none"})) == "BadRequest"
        assert ask(two, "masking_key")["present"] is False
        ask(two, "take_backup", **backed_up)
        assert ask(two, "masking_key")["present"] is True
        assert refusal(two, "take_backup", **backed_up) == "KeyExists"
        for control in (one, two):
            ask(control, "restore_key", owner="kmsuser", **key.arguments)
        assert ask(two, "list_keys")["keys"] == [[key.label, key.id, "kmsuser"]]
    with serve(first) as user, serve(second) as restored:
        sealed = ask(user, "encrypt", label=key.label, check=key.check, plaintext=b"secret", aad=b"")
        opened = ask(restored, "decrypt", label=key.label, check=key.check, aad=b"", **sealed)
        assert opened == {"plaintext": b"secret"}
