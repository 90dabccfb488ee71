"""What was said and what was heard, word beside word, with every error named by letter, shape and colour.

S: another word was heard (substitution). D: a word was missed (deletion). I: a word was made up (insertion).
"""

from __future__ import annotations

from collections.abc import Sequence

from influence.report.markup import Markup, tag
from training.evaluation.wer import Aligned

NAMES = {"substitution": "substituted", "deletion": "missed", "insertion": "made up"}
LETTERS = {"substitution": "S", "deletion": "D", "insertion": "I"}


def aligned(pairs: Sequence[Aligned]) -> Markup:
    """The alignment as columns of two words, reference above hypothesis; they wrap where a line is full."""
    sides = tag("div", [tag("span", "said"), tag("span", "heard")], class_="em-sides", aria_hidden="true")
    return tag("div", [sides, *map(_pair, pairs)], class_="em-words", role="list", aria_label="Words said and heard")


def legend() -> Markup:
    """What the letters and colours mean."""
    items = [
        tag("span", [tag("b", LETTERS[name], class_=f"em-letter em-{name}"), f" {text}"])
        for name, text in NAMES.items()
    ]
    return tag("p", items, class_="em-legend")


def _pair(pair: Aligned) -> Markup:
    letter = LETTERS.get(pair.operation)
    if letter is None:
        label = f"{pair.reference}, right"
    elif pair.operation == "substitution":
        label = f"substitution: said {pair.reference}, heard {pair.hypothesis}"
    elif pair.operation == "deletion":
        label = f"deletion: {pair.reference} was missed"
    else:
        label = f"insertion: {pair.hypothesis} was made up"
    above = tag("span", pair.reference if pair.reference is not None else "·", class_="em-said", aria_hidden="true")
    below = tag("span", pair.hypothesis if pair.hypothesis is not None else "·", class_="em-heard", aria_hidden="true")
    badge = tag("b", letter or "\u00a0", class_=f"em-letter em-{pair.operation}", aria_hidden="true")
    return tag("div", [above, below, badge], class_=f"em-pair em-{pair.operation}", role="listitem", aria_label=label)
