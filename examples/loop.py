"""A training loop written by hand, on the record: say what is consumed when it is consumed.

python examples/loop.py my-store
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from digits import digits
from features import collate, load, prepare
from torch.utils.data import DataLoader

from lineage.derivation.pipelines import track
from lineage.store import Store
from training.loops.loop import recorded

EPOCHS, RATE, SEED = 2, 1e-3, 1


def main(folder: Path) -> None:
    """Train, and say how to ask what happened."""
    store = Store.open(folder) if folder.exists() else Store.init(folder)
    tracked = track(store, digits(32), name="digits")
    data = tracked.map(prepare, remove_columns=tracked.column_names)
    torch.manual_seed(SEED)
    model = load().train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=RATE)
    loader = DataLoader(
        data.dataset,
        batch_size=8,
        shuffle=True,
        collate_fn=lambda rows: (collate(rows), [row["sample_id"] for row in rows]),
    )
    config = {"learning_rate": RATE, "optimiser": "AdamW"}
    with recorded(store, name="digits-loop", data=data.dataset, config=config, seed=SEED, epochs=EPOCHS) as run:
        step = 0
        for epoch in range(EPOCHS):
            for batch, ids in loader:
                loss = model(**batch).loss
                loss.backward()
                optimiser.step()
                optimiser.zero_grad()
                run.consumed(step, ids, epoch=epoch)
                step += 1
            print(f"epoch {epoch}: loss {loss.item():.3f}")
        run.model(model)
    print(f"\nNow ask:  earmark consumed digits-loop --store {folder}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "my-store"))
