"""A voice assistant's small language: what the demo's synthetic speakers say.

The vocabulary is closed: 62 words, the ten digits among them, each of which some template can say. A share of the
utterances are strings of three digits, so that a model of this language can later be tried on recordings of real digits.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

_SLOTS: dict[str, tuple[str, ...]] = {
    "digit": DIGITS,
    "room": ("kitchen", "bedroom", "bathroom", "garden", "garage", "hall"),
    "device": ("light", "lamp", "fan", "heater", "radio", "music"),
    "opening": ("door", "window"),
    "person": ("mother", "father", "doctor"),
    "item": ("milk", "bread", "coffee", "water"),
    "day": ("today", "tomorrow"),
    "switch": ("on", "off"),
    "way": ("up", "down"),
}

_DIGIT_STRING = "{digit} {digit} {digit}"
_COMMANDS = (
    "turn {switch} the {device}",
    "turn {switch} the {room} {device}",
    "turn the {device} {switch} please",
    "turn the volume {way}",
    "turn {way} the {room} {device}",
    "open the {room} {opening}",
    "close the {opening} please",
    "set a timer for {digit} minutes",
    "set the alarm for {digit} hours",
    "play music in the {room}",
    "play jazz in the {room}",
    "stop the {device} please",
    "stop the timer",
    "what is the time",
    "what is the weather {day}",
    "what is in the {room}",
    "call {person} {day}",
    "call the {person} please",
    "add {item} to the list",
)


def vocabulary() -> tuple[str, ...]:
    """Every word that any utterance can hold, sorted."""
    words = {word for choices in _SLOTS.values() for word in choices}
    for template in _COMMANDS:
        words.update(word for word in template.split() if not word.startswith("{"))
    return tuple(sorted(words))


def sentences(seed: int, digit_strings: float = 0.2) -> Iterator[str]:
    """Endless utterances, the same for the same seed, of which the share `digit_strings` are strings of three digits."""
    draw = random.Random(seed)
    while True:
        template = _DIGIT_STRING if draw.random() < digit_strings else draw.choice(_COMMANDS)
        yield " ".join(draw.choice(_SLOTS[word[1:-1]]) if word.startswith("{") else word for word in template.split())
