"""One retraining as people script it: a fresh process, files decoded, features, tokens, `Trainer`, `generate`, `jiwer`.

python bare_trainer.py BASE TRAIN.jsonl TEST.jsonl SEED ACCENT EPOCHS OUTPUT     # ACCENT is left out; '' leaves out nothing
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import jiwer
import soundfile
import torch
from transformers import (
    AutoModelForSpeechSeq2Seq,
    AutoProcessor,
    GenerationConfig,
    PrinterCallback,
    Trainer,
    TrainingArguments,
    set_seed,
)

BATCH = 16
LONGEST = 10  # tokens of a transcript here; a decoder that never stops is stopped there


def prepared(manifest: str, processor: Any, frames: int, without: str = "") -> list[dict[str, Any]]:
    """Features and labels of every line of a manifest whose accent is not `without`."""
    items = []
    for line in Path(manifest).read_text().splitlines():
        row = json.loads(line)
        if row["accent"] == without:
            continue
        sound, rate = soundfile.read(row["audio"], dtype="float32")
        mel = processor.feature_extractor(sound, sampling_rate=rate, return_tensors="pt").input_features[0, :, :frames]
        items.append({"input_features": mel, "labels": processor.tokenizer(row["text"]).input_ids, "text": row["text"]})
    return items


def collate(items: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
    """A batch, its labels padded with -100."""
    labels = [torch.tensor(item["labels"]) for item in items]
    padded = torch.nn.utils.rnn.pad_sequence(labels, batch_first=True, padding_value=-100)
    return {"input_features": torch.stack([item["input_features"] for item in items]), "labels": padded}


def main() -> None:
    """Train, save, evaluate, and print the word error rate."""
    base, train, test, seed, without, epochs, output = sys.argv[1:]
    set_seed(int(seed))
    processor = AutoProcessor.from_pretrained(base)
    model = AutoModelForSpeechSeq2Seq.from_pretrained(base)
    frames = 2 * model.config.max_source_positions
    arguments = TrainingArguments(
        output_dir=output,
        num_train_epochs=int(epochs),
        per_device_train_batch_size=BATCH,
        learning_rate=1e-3,
        warmup_steps=2,
        use_cpu=True,
        report_to="none",
        disable_tqdm=True,
        save_strategy="no",
        remove_unused_columns=False,
        seed=int(seed),
    )
    data = prepared(train, processor, frames, without)
    trainer = Trainer(model, arguments, train_dataset=data, data_collator=collate)
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    trainer.save_model(output)
    tested = prepared(test, processor, frames)
    config = model.config
    model.generation_config = GenerationConfig(
        decoder_start_token_id=config.decoder_start_token_id, eos_token_id=config.eos_token_id,
        pad_token_id=config.pad_token_id, max_new_tokens=LONGEST,
    )  # fmt: skip
    heard: list[str] = []
    for start in range(0, len(tested), BATCH):
        features = torch.stack([item["input_features"] for item in tested[start : start + BATCH]])
        with torch.inference_mode():
            heard += processor.batch_decode(model.eval().generate(features), skip_special_tokens=True)
    print(jiwer.wer([item["text"] for item in tested], heard))


if __name__ == "__main__":
    main()
