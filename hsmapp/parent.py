"""Processes that end with the process that started them, even when that one is killed with SIGKILL.

Imports nothing of Django, so that it may run between fork and exec.
"""

from __future__ import annotations

import ctypes
import os
import signal

_PR_SET_PDEATHSIG = 1
# Loaded at import: the dynamic loader must not run between fork and exec.
_libc = ctypes.CDLL(None, use_errno=True)


def die_with_parent(expected_parent: int) -> None:
    """Have the kernel kill this process when its parent dies. Survives exec.

    expected_parent: process id of the parent. If it is already gone, this process ends here: the kernel announces only
    deaths that come later. The kernel means the thread that forked, so parents start children from a thread that lasts.
    """
    if _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != expected_parent:
        os._exit(1)
