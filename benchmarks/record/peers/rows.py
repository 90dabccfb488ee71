"""The edges that every peer records, and how it reports what that took: the same facts that Earmark's rows hold."""

import json
import os
import random
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

ROWS = int(sys.argv[1])
_RANDOM = random.Random(0)
_IDS = [str(uuid.UUID(int=_RANDOM.getrandbits(128))) for _ in range(ROWS + 1)]
CHILDREN, PARENTS = _IDS[1:], _IDS[:-1]
TRANSFORM, ROLE, POSITION = f"{7919:064x}", "speech", 0  # of all
DURATIONS = [_RANDOM.random() * 10 for _ in range(ROWS)]
SEEDS = [_RANDOM.getrandbits(62) for _ in range(ROWS)]


@contextmanager
def timed(version: str) -> Iterator[None]:
    """Print how long what happens inside took."""
    began, cpu = time.perf_counter(), sum(os.times()[:4])
    yield
    seconds, busy = time.perf_counter() - began, sum(os.times()[:4]) - cpu
    print(json.dumps({"rows": ROWS, "seconds": seconds, "cpu": busy, "version": version}))
