"""An HSM process over a PKCS#11 module that makes the IVs of AES-GCM itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hsmapp.device.protocol import HsmAnswerError
from hsmapp.tests import own_iv_module
from hsmapp.tests.device_process import PASSWORD, DeviceProcess, activated, ask, find_module, new_key

ENCRYPTIONS = 2000


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return own_iv_module.build(tmp_path_factory.mktemp("module"))


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory, module: Path) -> Iterator[DeviceProcess]:
    running = activated(tmp_path_factory.mktemp("own ivs"), module=module)
    yield running
    running.stop()


def test_the_hsm_says_who_makes_its_ivs(device: DeviceProcess, tmp_path: Path) -> None:
    with device.control() as control:
        assert ask(control, "health")["module_makes_ivs"] is True
    plain = activated(tmp_path)
    with plain.control() as control:
        assert ask(control, "health")["module_makes_ivs"] is False
    plain.stop()


def test_nothing_is_encrypted_that_nobody_has_counted(device: DeviceProcess) -> None:
    with device.login("kmsuser", PASSWORD) as connection:
        key = new_key(connection)
        with pytest.raises(HsmAnswerError) as refused:
            ask(connection, "encrypt", label=key.label, check=key.check, plaintext=b"x", aad=b"")
        assert refused.value.name == "IvNotCounted"


def test_the_modules_iv_is_the_ciphertexts_iv(device: DeviceProcess) -> None:
    ivs, aad = [], b"aad" * 100
    with device.login("kmsuser", PASSWORD) as connection:
        key = new_key(connection)
        ivs.append(key.check[:12])
        for number in range(ENCRYPTIONS):
            plaintext = number.to_bytes(4, "big")
            sealed = ask(
                connection, "encrypt", label=key.label, check=key.check, plaintext=plaintext, aad=aad, counted=True
            )
            ivs.append(sealed["iv"])
            assert ask(connection, "decrypt", label=key.label, check=key.check, aad=aad, **sealed) == {
                "plaintext": plaintext
            }
    assert len(set(ivs)) == len(ivs)
    # An HSM process's own IVs share a prefix; random ones do not.
    assert len({iv[:8] for iv in ivs}) == len(ivs)
    print(f"{len(ivs)} IVs of the module's own, all different, each opens its ciphertext")


def test_what_one_kind_of_module_has_sealed_the_other_opens(tmp_path: Path, module: Path) -> None:
    device = activated(tmp_path)
    with device.login("kmsuser", PASSWORD) as connection:
        key = new_key(connection)
        before = ask(connection, "encrypt", label=key.label, check=key.check, plaintext=b"before", aad=b"")
    device.stop()
    device.module = module
    device.start()
    with device.control() as control:
        ask(control, "serve")
    with device.login("kmsuser", PASSWORD) as connection:
        opened = ask(connection, "decrypt", label=key.label, check=key.check, aad=b"", **before)
        assert opened == {"plaintext": b"before"}
        after = ask(connection, "encrypt", label=key.label, check=key.check, plaintext=b"after", aad=b"", counted=True)
    device.stop()
    device.module = find_module()
    device.start()
    with device.control() as control:
        ask(control, "serve")
    with device.login("kmsuser", PASSWORD) as connection:
        opened = ask(connection, "decrypt", label=key.label, check=key.check, aad=b"", **after)
        assert opened == {"plaintext": b"after"}
    device.stop()
