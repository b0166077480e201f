"""The token itself, opened here after the HSM process has ended: AES-GCM vectors, and what its keys refuse."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pkcs11 import MGF, Attribute, CTRParams, GCMParams, KeyType, Mechanism, ObjectClass
from pkcs11.exceptions import PKCS11Error

from hsmapp.device import opening
from hsmapp.device.key_proofs import check_aad
from hsmapp.device.protocol import HsmAnswerError
from hsmapp.device.token import MASKING_KEY_LABEL, Token, TokenRefusedError
from hsmapp.tests.device_process import (
    PASSWORD,
    SHARED_DATA,
    DeviceProcess,
    MaskedKey,
    activated,
    ask,
    generate,
    new_key,
)

VECTORS = SHARED_DATA / "wycheproof" / "aes_gcm_test.json.gz"


def open_token(device: DeviceProcess) -> Token:
    token = Token(device.module, device.hsm_id, device.pin.encode())
    token.session.log_in()
    token.load()
    return token


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> tuple[DeviceProcess, MaskedKey]:
    device = activated(tmp_path_factory.mktemp("token"))
    with device.login("kmsuser", PASSWORD) as connection:
        key = new_key(connection)
    device.stop()
    return device, key


@pytest.fixture
def token(stopped: tuple[DeviceProcess, MaskedKey], monkeypatch: pytest.MonkeyPatch) -> Iterator[Token]:
    device, _key = stopped
    monkeypatch.setenv("SOFTHSM2_CONF", str(device.folder / opening.SOFTHSM_CONFIGURATION))
    opened = open_token(device)
    yield opened
    opened.session.close()


def session(token: Token) -> Any:
    return token.session.open  # what a raw PKCS#11 client with the PIN has


def vectors() -> list[dict[str, Any]]:
    if not VECTORS.exists():
        return []
    groups = json.loads(gzip.decompress(VECTORS.read_bytes()))["testGroups"]
    sizes = {"keySize": 256, "ivSize": 96, "tagSize": 128}
    return [test for group in groups if {name: group[name] for name in sizes} == sizes for test in group["tests"]]


def test_wycheproof_aes_gcm(token: Token) -> None:
    tests = vectors()
    if not tests:
        pytest.skip("the shared test data is not here")
    right = 0
    for test in tests:
        template = {
            Attribute.CLASS: ObjectClass.SECRET_KEY,
            Attribute.KEY_TYPE: KeyType.AES,
            Attribute.VALUE: bytes.fromhex(test["key"]),
            Attribute.ENCRYPT: True,
            Attribute.DECRYPT: True,
            Attribute.TOKEN: False,
        }
        key = session(token).create_object(template)
        iv, aad, plaintext = (bytes.fromhex(test[name]) for name in ("iv", "aad", "msg"))
        sealed = bytes.fromhex(test["ct"] + test["tag"])
        if test["result"] == "valid":
            right += token.objects.encrypt(key.handle, iv, aad, plaintext) == sealed
            assert token.objects.decrypt(key.handle, iv, aad, sealed) == plaintext
        else:
            with pytest.raises(TokenRefusedError):
                token.objects.decrypt(key.handle, iv, aad, sealed)
            right += 1
        key.destroy()
    print(f"Wycheproof AES-GCM 256/96/128: {right}/{len(tests)}")
    assert (right, len(tests)) == (66, 66)


def refuses(action: Any) -> bool:
    try:
        action()
    except (PKCS11Error, AttributeError):
        return True  # AttributeError: python-pkcs11 does not even offer what the key may not do
    return False


# A mechanism that is not here gets an empty parameter, so that it is the token that refuses and not python-pkcs11.
PARAMETERS: dict[Mechanism, Any] = {
    Mechanism.RSA_PKCS_OAEP: (Mechanism.SHA_1, MGF.SHA1, None),
    Mechanism.AES_GCM: GCMParams(bytes(12)),
    Mechanism.AES_CTR: CTRParams(bytes(8)),
    Mechanism.AES_CBC: bytes(16),
    Mechanism.AES_CBC_PAD: bytes(16),
    Mechanism.AES_KEY_WRAP: None,
    Mechanism.AES_KEY_WRAP_PAD: None,
    Mechanism.AES_ECB: None,
    Mechanism.RSA_PKCS: None,
    Mechanism.RSA_X_509: None,
}


def mechanisms(token: Token) -> list[Mechanism]:
    return sorted(session(token).token.slot.get_mechanisms(), key=int)


def wrap(wrapper: Any, target: Any, mechanism: Mechanism) -> bytes:
    wrapped: bytes = wrapper.wrap_key(target, mechanism=mechanism, mechanism_param=PARAMETERS.get(mechanism, b""))
    return wrapped


def test_no_key_material_leaves_the_token(token: Token, stopped: tuple[DeviceProcess, MaskedKey]) -> None:
    """C5: everything that a raw client with the PIN can try."""
    opened = session(token)
    key = next(iter(list(opened.get_objects({Attribute.LABEL: stopped[1].label}))))
    masking_key = next(iter(list(opened.get_objects({Attribute.LABEL: MASKING_KEY_LABEL}))))
    private_keys = list(opened.get_objects({Attribute.CLASS: ObjectClass.PRIVATE_KEY}))
    own_wrapper = opened.generate_key(KeyType.AES, 256, template={Attribute.EXTRACTABLE: False})
    tried = 0
    for mechanism in mechanisms(token):
        for wrapper in (own_wrapper, masking_key, *opened.get_objects({Attribute.CLASS: ObjectClass.PUBLIC_KEY})):
            for target in (key, *private_keys):
                tried += 1
                assert refuses(lambda w=wrapper, t=target, m=mechanism: wrap(w, t, m)), mechanism
        tried += 1
        assert refuses(lambda m=mechanism: wrap(own_wrapper, masking_key, m)), mechanism
    for secret in (key, masking_key, *private_keys):
        hidden = [Attribute.VALUE, Attribute.PRIVATE_EXPONENT, Attribute.PRIME_1]
        for attribute in hidden:
            tried += 1
            assert refuses(lambda s=secret, a=attribute: s[a]), attribute
        for change in (
            {Attribute.EXTRACTABLE: True},
            {Attribute.SENSITIVE: False},
            {Attribute.WRAP_WITH_TRUSTED: False},
            {Attribute.TOKEN: False, Attribute.EXTRACTABLE: True, Attribute.SENSITIVE: False},
        ):
            tried += 1
            assert refuses(lambda s=secret, c=change: s.copy(c)), change
    for secret in (key, masking_key, *private_keys):
        for attribute, value in {
            Attribute.EXTRACTABLE: True,
            Attribute.SENSITIVE: False,
            Attribute.PRIVATE: False,
            Attribute.WRAP: True,
            Attribute.LABEL: "another label",
            Attribute.WRAP_WITH_TRUSTED: False,
            Attribute.MODIFIABLE: True,
            Attribute.DERIVE: True,
        }.items():
            tried += 1
            assert refuses(lambda s=secret, a=attribute, v=value: s.__setitem__(a, v)), attribute
    print(f"{tried} attempts to get at key material, all refused")


def test_attributes_as_a_raw_client_sees_them(token: Token, stopped: tuple[DeviceProcess, MaskedKey]) -> None:
    (key,) = list(session(token).get_objects({Attribute.LABEL: stopped[1].label}))
    expected = {
        Attribute.CLASS: ObjectClass.SECRET_KEY,
        Attribute.KEY_TYPE: KeyType.AES,
        Attribute.LABEL: stopped[1].label,
        Attribute.ID: stopped[1].id.encode(),
        Attribute.TOKEN: True,
        Attribute.PRIVATE: True,
        Attribute.SENSITIVE: True,
        Attribute.EXTRACTABLE: False,
        Attribute.MODIFIABLE: False,
        Attribute.ENCRYPT: True,
        Attribute.DECRYPT: True,
        Attribute.WRAP: False,
        Attribute.UNWRAP: False,
        Attribute.SIGN: False,
        Attribute.VERIFY: False,
        Attribute.DERIVE: False,
        Attribute.ALLOWED_MECHANISMS: [Mechanism.AES_GCM],
    }
    assert {attribute: key[attribute] for attribute in expected} == expected


def test_a_key_does_aes_gcm_and_nothing_else(token: Token, stopped: tuple[DeviceProcess, MaskedKey]) -> None:
    (key,) = list(session(token).get_objects({Attribute.LABEL: stopped[1].label}))
    others = [mechanism for mechanism in mechanisms(token) if mechanism != Mechanism.AES_GCM]
    for mechanism in others:
        for use in (key.encrypt, key.decrypt):
            parameter = PARAMETERS.get(mechanism, b"")
            assert refuses(lambda u=use, m=mechanism, p=parameter: u(bytes(16), mechanism=m, mechanism_param=p))
    print(f"{len(others)} other mechanisms, all refused")


def test_a_masked_key_cannot_be_opened_into_an_extractable_one(
    token: Token, stopped: tuple[DeviceProcess, MaskedKey]
) -> None:
    (masking_key,) = list(session(token).get_objects({Attribute.LABEL: MASKING_KEY_LABEL}))
    for template in ({Attribute.EXTRACTABLE: True}, {Attribute.SENSITIVE: False}):
        assert refuses(
            lambda t=template: masking_key.unwrap_key(
                ObjectClass.SECRET_KEY, KeyType.AES, stopped[1].masked, mechanism=Mechanism.AES_KEY_WRAP, template=t
            )
        )


def test_a_forged_ciphertext_and_an_unknown_handle_are_told_apart(
    token: Token, stopped: tuple[DeviceProcess, MaskedKey]
) -> None:
    key = stopped[1]
    (stored,) = token.load().keys
    aad = check_aad(key.label, key.id)
    assert token.objects.decrypt(stored.handle, key.check[:12], aad, key.check[12:]) == bytes(32)
    with pytest.raises(TokenRefusedError) as forged:
        token.objects.decrypt(stored.handle, key.check[:12], aad, bytes(48))
    with pytest.raises(TokenRefusedError) as gone:
        token.objects.decrypt(99_999, key.check[:12], aad, key.check[12:])
    assert (forged.value.gone, gone.value.gone) == (False, True)


def test_two_objects_with_one_label_are_both_known_and_the_good_one_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = activated(tmp_path)
    with device.login("kmsuser", PASSWORD) as connection:
        key = new_key(connection)
        sealed = ask(connection, "encrypt", label=key.label, check=key.check, plaintext=b"secret", aad=b"")
    device.stop()
    monkeypatch.setenv("SOFTHSM2_CONF", str(device.folder / opening.SOFTHSM_CONFIGURATION))
    token = open_token(device)
    for _ in range(3):
        session(token).generate_key(KeyType.AES, 256, label=key.label, id=key.id.encode(), store=True)
    token.session.close()
    device.start()
    with device.control() as control:
        ask(control, "serve")
        assert ask(control, "list_keys")["duplicates"] == [key.label]
    with device.login("kmsuser", PASSWORD) as connection:
        for _ in range(2):
            opened = ask(connection, "decrypt", label=key.label, check=key.check, aad=b"", **sealed)
            assert opened == {"plaintext": b"secret"}
        ask(connection, "encrypt", label=key.label, check=key.check, plaintext=b"", aad=b"")
        assert ask(connection, "destroy_key", label=key.label, id=key.id) == {"destroyed": 4}
    device.stop()


def put_beside(device: DeviceProcess, label: str, *ids: str) -> None:
    """What another program with the PIN can do: an AES key of its own under a label that is taken."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOFTHSM2_CONF", str(device.folder / opening.SOFTHSM_CONFIGURATION))
        token = open_token(device)
        for id_ in ids:
            session(token).generate_key(KeyType.AES, 256, label=label, id=id_.encode(), store=True)
        token.session.close()


@pytest.mark.parametrize("owned", [True, False], ids=["made here", "known to no owner journal"])
def test_a_foreign_object_with_a_keys_label_keeps_nobody_from_the_key(tmp_path: Path, owned: bool) -> None:
    device = activated(tmp_path)
    with device.login("kmsuser", PASSWORD) as connection:
        key = new_key(connection)
    device.stop()
    put_beside(device, key.label, "f" * 64, "0" * 64, "", "f" * 64)
    if not owned:
        (device.folder / opening.OWNERS).unlink()
    for made in (False, False):
        device.start()
        with device.control() as control:
            ask(control, "serve")
        with device.login("kmsuser", PASSWORD) as connection:
            if not owned:
                assert ask(connection, "restore_key", **key.arguments) == {"made": made}
            sealed = ask(connection, "encrypt", label=key.label, check=key.check, plaintext=b"secret", aad=b"")
            opened = ask(connection, "decrypt", label=key.label, check=key.check, aad=b"", **sealed)
            assert opened == {"plaintext": b"secret"}
        with device.control() as control:
            assert ask(control, "list_keys")["duplicates"] == [key.label]
        device.stop()


def test_a_key_is_made_beside_a_foreign_object_with_its_label(tmp_path: Path) -> None:
    device = activated(tmp_path)
    with device.login("kmsuser", PASSWORD) as connection:
        key = generate(connection)
    device.stop()
    put_beside(device, key.label, "f" * 64)
    device.start()
    with device.control() as control:
        ask(control, "serve")
    with device.login("kmsuser", PASSWORD) as connection:
        wrong = key.arguments | {"masked": bytes(40)}
        with pytest.raises(HsmAnswerError, match="MaskedKeyWrong"):
            ask(connection, "restore_key", **wrong)
        assert ask(connection, "restore_key", **key.arguments) == {"made": True}
        ask(connection, "encrypt", label=key.label, check=key.check, plaintext=b"", aad=b"")
        assert ask(connection, "destroy_key", label=key.label, id=key.id) == {"destroyed": 1}
    with device.control() as control:
        assert ask(control, "list_keys")["keys"] == [[key.label, "f" * 64, None]]
    device.stop()


def test_nameless_objects_are_debris_and_no_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    device = activated(tmp_path)
    device.stop()
    monkeypatch.setenv("SOFTHSM2_CONF", str(device.folder / opening.SOFTHSM_CONFIGURATION))
    token = open_token(device)
    session(token).generate_key(KeyType.AES, 256, store=True)
    token.session.close()
    device.start()
    with device.control() as control:
        health = ask(control, "health")
        assert (health["keys"], health["debris"]) == (0, 1)
    device.stop()
