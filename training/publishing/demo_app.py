"""Transcribes from microphone or file."""

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import soxr
import torch
from transformers import AutoConfig, AutoFeatureExtractor, AutoModelForCTC, AutoModelForSpeechSeq2Seq, AutoTokenizer

MODEL = "owner/name"
BASE = "owner/name"  # where settings and vocabulary are: the model itself, or what its adapters stand on
PROMPT: dict[str, str] = {}  # language and task, where the model has tokens for them


@cache
def load() -> tuple[Any, Any, Any]:
    """Model, feature extractor and tokeniser, read once."""
    written = AutoConfig.from_pretrained(BASE).is_encoder_decoder
    model = (AutoModelForSpeechSeq2Seq if written else AutoModelForCTC).from_pretrained(MODEL).eval()
    return model, AutoFeatureExtractor.from_pretrained(BASE), AutoTokenizer.from_pretrained(BASE)


def transcribe(audio: tuple[int, npt.NDArray[Any]] | None) -> str:
    """The words in a recording: (samples a second, samples) as gradio gives them."""
    if audio is None or not len(audio[1]):
        return ""
    model, extractor, tokenizer = load()
    rate, given = audio
    wave = given.astype(np.float32) / (np.iinfo(given.dtype).max if given.dtype.kind == "i" else 1)
    wave = wave.mean(axis=1) if wave.ndim == 2 else wave
    wave = soxr.resample(wave, rate, extractor.sampling_rate)
    whisper = model.config.is_encoder_decoder
    frames = 2 * model.config.max_source_positions if whisper else None
    window = frames * extractor.hop_length if frames else len(wave)
    words = []
    for start in range(0, len(wave), window):
        piece = wave[start : start + window]
        inputs = extractor(piece, sampling_rate=extractor.sampling_rate, return_tensors="pt")
        with torch.no_grad():
            if whisper:
                tokens = model.generate(input_features=inputs.input_features[:, :, :frames], **PROMPT)
            else:
                tokens = model(**inputs).logits.argmax(dim=-1)
        words.append(tokenizer.decode(tokens[0], skip_special_tokens=True).strip())
    return " ".join(words).strip()


if __name__ == "__main__":
    import gradio

    sound = gradio.Audio(sources=["microphone", "upload"], type="numpy", label="Speech")
    gradio.Interface(transcribe, sound, gradio.Textbox(label="Words"), title=MODEL).launch()
