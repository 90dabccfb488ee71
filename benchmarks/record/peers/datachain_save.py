"""DataChain: a chain of rows saved as a data set."""

import json
import os
import sys
import tempfile
import time
import uuid

os.environ["DATACHAIN_NO_ANALYTICS"] = os.environ["DO_NOT_TRACK"] = "1"
os.environ["DATACHAIN_ROOT_DIR"] = tempfile.mkdtemp()

import datachain

rows = int(sys.argv[1])
ids = [str(uuid.uuid4()) for _ in range(rows + 1)]
children, parents = ids[1:], ids[:-1]
transforms, positions = ["speed"] * rows, [0] * rows
began = time.perf_counter()
chain = datachain.read_values(child=children, parent=parents, transform=transforms, position=positions)
saved = chain.save("edges")
seconds = time.perf_counter() - began
assert saved.count() == rows
print(json.dumps({"rows": rows, "seconds": seconds, "version": datachain.__version__}))
