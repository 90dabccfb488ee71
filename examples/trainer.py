"""A plain `Seq2SeqTrainer` fine-tuning; the one line with `EarmarkCallback` puts it on the record.

python examples/trainer.py my-store
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from digits import digits
from features import collate, load, prepare
from transformers import Seq2SeqTrainer, Seq2SeqTrainingArguments

from lineage.derivation.pipelines import track
from lineage.store import Store
from training.loops.callback import EarmarkCallback


def main(folder: Path) -> None:
    """Fine-tune, and say how to ask what happened."""
    store = Store.open(folder) if folder.exists() else Store.init(folder)
    parts = track(store, digits(48), name="digits").train_test_split(0.25, seed=1)
    features = {name: part.map(prepare, remove_columns=part.column_names) for name, part in parts.items()}
    with tempfile.TemporaryDirectory() as scratch:
        trainer = Seq2SeqTrainer(
            load(),
            Seq2SeqTrainingArguments(
                output_dir=scratch,
                num_train_epochs=2,
                per_device_train_batch_size=8,
                gradient_accumulation_steps=2,
                learning_rate=1e-3,
                eval_strategy="epoch",
                save_strategy="no",
                report_to="none",
                disable_tqdm=True,
            ),
            train_dataset=features["train"].dataset,
            eval_dataset=features["test"].dataset,
            data_collator=collate,
            callbacks=[EarmarkCallback(store, name="digits-whisper")],  # this line
        )
        trainer.train()
    print(f"\nNow ask:  earmark consumed digits-whisper --store {folder}")
    print(f"          earmark evaluate digits-whisper digits/test --store {folder}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "my-store"))
