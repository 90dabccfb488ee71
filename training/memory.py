"""Memory that one step frees is kept for the next.

A step allocates and frees the same megabytes as the one before. The GNU allocator gives them back to the system in between
and takes them anew, which costs a small model on a CPU about a twentieth of its training and a quarter of its decoding
(`benchmarks/bank.py`). Results do not depend on it.
"""

from __future__ import annotations

import ctypes
import platform
from functools import cache

KEPT = 512 << 20  # bytes of freed memory that the process holds on to at most
LARGE = 32 << 20  # bytes from which on a block comes from the system and goes back there; the allocator's own maximum
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of mallopt(3)


@cache
def keep_freed() -> bool:
    """Hold on to freed memory from now on, in the whole process; whether its allocator lets itself be told."""
    if platform.libc_ver()[0] != "glibc":
        return False
    told = ctypes.CDLL(None).mallopt
    return bool(told(_MMAP_THRESHOLD, LARGE)) and bool(told(_TRIM_THRESHOLD, KEPT))
