"""Open the HSM in a folder: its SoftHSM configuration, its token, its users and its owners.

A token is initialised only at a first start: with an SO PIN in the configuration, no token, and no users file. The
users file is written last, when token and key pairs are on the disk, so a first start that was cut off is simply done
again; afterwards a token that is missing is a loss to report, never a reason to make another one.
"""

from __future__ import annotations

import os
from pathlib import Path

from hsmapp.device import set_aside
from hsmapp.device.configuration import Configuration
from hsmapp.device.hsm import Hsm
from hsmapp.device.hsm_users import HsmUsers
from hsmapp.device.keys import Keys
from hsmapp.device.masking_check import MaskingCheck
from hsmapp.device.object_files import TOKEN_FILE, ObjectFileError
from hsmapp.device.owners import OwnerJournal
from hsmapp.device.token import Token, TokenRefusedError, TokenUnusableError
from hsmapp.durable import sync_folder, write_durably

TOKENS = "tokens"
USERS = "users"
OWNERS = "owners"
MASKING_CHECK = "masking-check"
SOFTHSM_CONFIGURATION = "softhsm2.conf"


class FolderUnusableError(Exception):
    """The HSM's folder can't be read or written, which says nothing of the token in it."""


def open_hsm(configuration: Configuration) -> Hsm:
    """Return the opened HSM, out of rotation.

    Raises: TokenUnusableError, UsersFileError, FolderUnusableError.
    """
    try:
        return _open(configuration)
    except OSError as error:
        raise FolderUnusableError(f"the folder of {configuration.hsm_id} can't be used: {error.strerror}") from error


def _open(configuration: Configuration) -> Hsm:
    folder = configuration.folder
    _write_softhsm_configuration(folder)
    set_aside.make_folder(folder)
    _move_unreadable_objects(configuration)
    users_path = folder / USERS
    users = HsmUsers(users_path)
    token = _open_token(configuration, first_start=not users_path.exists())
    journal = OwnerJournal(folder / OWNERS)
    masking_check = MaskingCheck(folder / MASKING_CHECK, token)
    try:
        keys = Keys(token, journal, masking_check, capacity=configuration.capacity)
    except TokenRefusedError as error:
        raise TokenUnusableError(f"the token of {configuration.hsm_id} does not answer ({error})") from error
    if not users_path.exists():
        sync_folder(folder)
        users.save()
    return Hsm(
        hsm_id=configuration.hsm_id,
        folder=folder,
        tokens=folder / TOKENS,
        token=token,
        keys=keys,
        masking_check=masking_check,
        users=users,
        capacity=configuration.capacity,
        control_secret=configuration.control_secret,
    )


def _move_unreadable_objects(configuration: Configuration) -> None:
    """Keep the module from files that would end its process, or that hide what they were."""
    try:
        set_aside.move_unreadable_objects(configuration.folder, configuration.folder / TOKENS)
    except ObjectFileError as error:
        if not (configuration.folder / USERS).exists():
            return  # a first start that was cut off: the module passes such a token over, and it is made again
        raise TokenUnusableError(f"the token of {configuration.hsm_id} is damaged: {TOKEN_FILE}: {error}") from error


def _write_softhsm_configuration(folder: Path) -> None:
    (folder / TOKENS).mkdir(mode=0o700, exist_ok=True)
    lines = (
        f"directories.tokendir = {folder / TOKENS}",
        "objectstore.backend = file",
        "log.level = ERROR",
        "slots.removable = false",
    )
    path = folder / SOFTHSM_CONFIGURATION
    content = "\n".join(lines).encode() + b"\n"
    # Not where it is the same already: a full disk must not keep an HSM from its keys.
    if not path.exists() or path.read_bytes() != content:
        write_durably(path, content)
    # The module reads it when it is loaded; other modules do not look at it.
    os.environ["SOFTHSM2_CONF"] = str(path)


def _open_token(configuration: Configuration, *, first_start: bool) -> Token:
    token = Token(configuration.module, configuration.hsm_id, configuration.pin)
    if not token.session.is_there():
        if not first_start:
            raise TokenUnusableError(f"the token of {configuration.hsm_id} is gone from {configuration.folder}")
        if configuration.so_pin is None:
            raise TokenUnusableError(f"the token of {configuration.hsm_id} is gone, with its HSM users")
        token.session.initialise(configuration.so_pin)
    token.session.log_in()
    if first_start:
        token.key_pairs.make()
    return token
