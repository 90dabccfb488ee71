"""DataChain: a chain of rows saved as a data set."""

import os
import tempfile

os.environ["DATACHAIN_NO_ANALYTICS"] = os.environ["DO_NOT_TRACK"] = "1"
os.environ["DATACHAIN_ROOT_DIR"] = tempfile.mkdtemp()

import datachain
from rows import CHILDREN, DURATIONS, PARENTS, POSITION, ROLE, ROWS, SEEDS, TRANSFORM, timed

same = {"transform": [TRANSFORM] * ROWS, "role": [ROLE] * ROWS, "position": [POSITION] * ROWS}
with timed(datachain.__version__):
    chain = datachain.read_values(child=CHILDREN, parent=PARENTS, duration_s=DURATIONS, seed=SEEDS, **same)
    saved = chain.save("edges")
assert saved.count() == ROWS
