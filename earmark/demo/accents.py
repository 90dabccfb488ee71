"""The accents that the demo's synthetic voices speak, and the sound rules that make the second-language ones.

A *native* accent is one of espeak-ng's own English voices. A *second-language* accent is made here: the General American
phonemes of an utterance are rewritten by about ten rules, each saying what a speaker of the first language does with a
sound that their language lacks, and the American voice speaks the result. So the mechanism of every such accent is known
to the last phoneme, which no recorded corpus can offer. They are caricatures to measure with, not portraits of anybody.

The laws of rewriting:

* every phoneme of the original is rewritten at most once, by the first rule of the accent that fits it;
* a rule looks at the original neighbours within the word, never at what another rule has made of them;
* a stress mark stays where it was, on the first vowel of what replaces the stressed one.

Phonemes carry espeak-ng's mnemonics (``T`` as in *thin*, ``D`` as in *then*, ``a`` as in *cat*, ``V`` as in *cut*, ``@``
as in *comma*, ``3`` as in *mother*, ``A@`` as in *garden*, ``o@`` as in *door*; ``*`` a tapped r, ``R`` a trilled one,
``Q^`` one from the throat), with ``|`` between phonemes and a space between words.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from lineage.errors import EarmarkError

Where = Literal["anywhere", "at the start", "at the end", "before a consonant", "at the start before a consonant"]

_STRESS_MARKS = "',%="


@dataclass(frozen=True)
class Rule:
    """One sound change: each of `sounds`, standing `where` it says in its word, becomes `becomes` (nothing drops it)."""

    sounds: tuple[str, ...]
    becomes: tuple[str, ...]
    says: str
    where: Where = "anywhere"

    def fits(self, word: Sequence[str], index: int) -> bool:
        """Whether this rule rewrites the phoneme at `index` of `word`, whose phonemes carry no stress marks."""
        if word[index] not in self.sounds:
            return False
        starts, ends = index == 0, index == len(word) - 1
        before_consonant = not ends and not is_vowel(word[index + 1])
        return {
            "anywhere": True,
            "at the start": starts,
            "at the end": ends,
            "before a consonant": before_consonant,
            "at the start before a consonant": starts and before_consonant,
        }[self.where]


@dataclass(frozen=True)
class Accent:
    """A way of speaking: the espeak-ng voice it uses and the rules that rewrite its phonemes (a native accent has none)."""

    name: str
    voice: str
    describes: str
    rules: tuple[Rule, ...] = ()


def _rule(sounds: str, becomes: str, says: str, where: Where = "anywhere") -> Rule:
    return Rule(tuple(sounds.split()), tuple(becomes.split()), says, where)


_SPANISH = (
    _rule("s", "e s", "a cluster with s takes a vowel before it: 'stop' is 'estop'", "at the start before a consonant"),
    _rule("I I2 i", "i:", "one i: 'fill' is 'feel'"),
    _rule("V aa A: a#", "a", "one a: 'cut' is 'cat'"),
    _rule("0 O2 O: oU", "o", "one o, without glide: 'note', 'not' and 'nought' are one word"),
    _rule("u: U", "u", "one u: 'pull' is 'pool'"),
    _rule("@ @2", "e", "no schwa: 'kitchen' has a full e"),
    _rule("3 3:", "e *", "r is tapped after a full vowel: 'mother' ends in 'er'"),
    _rule("A@", "a *", "the same: 'garden' is 'gar-den'"),
    _rule("o@ O@", "o *", "the same: 'door' is 'dor'"),
    _rule("r r-", "*", "every other r is tapped too"),
    _rule("t#", "t", "no flap: 'water' has a plain t"),
    _rule("z", "s", "no voiced sibilant: 'zero' is 'sero'"),
    _rule("v", "b", "b and v are one: 'volume' is 'bolume'"),
    _rule("D", "d", "'the' is 'de'"),
    _rule("T", "t", "'three' is 'tree'"),
    _rule("h", "x", "h is rough: 'hall' is 'jall'"),
    _rule("dZ Z", "j", "'jazz' is 'yas'"),
)

_GERMAN = (
    _rule("w", "v", "w is v: 'water' is 'vater'"),
    _rule("v", "f", "and v is f: 'volume' is 'folume', 'five' is 'fife'"),
    _rule("T", "s", "'three' is 'sree'"),
    _rule("D", "z", "'the' is 'ze'"),
    _rule("s", "S", "'stop' is 'shtop'", "at the start before a consonant"),
    _rule("s", "z", "s before a vowel is voiced: 'seven' is 'zeven'", "at the start"),
    _rule("z", "t s", "z is ts: 'zero' is 'tsero'", "at the start"),
    _rule("d", "t", "voice is lost at the end: 'add' is 'at'", "at the end"),
    _rule("z Z", "s", "the same: 'jazz' ends in s", "at the end"),
    _rule("dZ Z", "tS", "'jazz' begins like 'chat'"),
    _rule("a aa", "E", "'bad' is 'bed'"),
    _rule("V", "a", "'cut' is 'cat'"),
    _rule("eI", "e:", "no glide: 'eight' has one long e"),
    _rule("oU", "o:", "no glide: 'close' has one long o"),
    _rule("3 3:", "a#", "r melts into the vowel: 'mother' is 'motha'"),
    _rule("A@", "A:", "the same: 'garden' is 'gahden'"),
    _rule("o@ O@", "o: a#", "the same: 'door' is 'do-a'"),
    _rule("r r-", "Q^", "every other r comes from the throat"),
)

_FRENCH = (
    _rule("h", "", "h is not said: 'hall' is 'all'"),
    _rule("T", "s", "'three' is 'sree'"),
    _rule("D", "z", "'the' is 'ze'"),
    _rule("I I2", "i", "one i: 'fill' is 'feel'"),
    _rule("tS", "S", "'kitchen' is 'kishen'"),
    _rule("dZ", "Z", "'jazz' is 'zhazz'"),
    _rule("n", "", "n after a vowel only colours it: 'turn' is 'tur'", "at the end"),
    _rule("n", "", "the same: 'window' is 'widow'", "before a consonant"),
    _rule("V", "0", "'cut' is nearly 'cot'"),
    _rule("eI", "e", "no glide: 'eight' has one e"),
    _rule("oU", "o", "no glide: 'close' has one o"),
    _rule("@ @2 a#", "e", "no schwa: 'kitchen' has a full e"),
    _rule("3 3:", "E Q^", "r comes from the throat: 'mother' ends in 'èr'"),
    _rule("A@", "a Q^", "the same: 'garden'"),
    _rule("o@ O@", "O Q^", "the same: 'door'"),
    _rule("r r-", "Q^", "the same everywhere"),
)

_JAPANESE = (
    _rule("l r r-", "*", "l and r are one tap: 'light' is 'right'"),
    _rule("T", "s", "'three' is 'suree'"),
    _rule("D", "z", "'the' is 'za'"),
    _rule("v", "b u", "no word ends in v: 'five' is 'faibu'", "at the end"),
    _rule("v", "b", "'volume' is 'bolume'"),
    _rule("t t2", "t o", "no word ends in t: 'light' is 'raito'", "at the end"),
    _rule("t#", "t", "no flap: 'water' has a plain t"),
    _rule("d", "d o", "nor in d: 'bread' is 'bureddo'", "at the end"),
    _rule("k", "k u", "nor in k: 'milk' is 'miruku'", "at the end"),
    _rule("p", "p u", "nor in p: 'stop' is 'sutoppu'", "at the end"),
    _rule("m", "m u", "nor in m: 'time' is 'taimu'", "at the end"),
    _rule("s z", "s u", "nor in s: 'is' is 'isu'", "at the end"),
    _rule("f", "h u", "'fan' begins with a blown h"),
    _rule("V @ @2 3 3: A@ aa a a#", "a:", "one a, long: 'turn' is 'tahn'"),
    _rule("o@ O@ O: O2 0 oU", "o:", "one o, long: 'door' is 'doh'"),
    _rule("I I2", "i", "one i: 'fill' is 'feel'"),
)

ACCENTS = {
    accent.name: accent
    for accent in (
        Accent("us", "en-us", "General American"),
        Accent("rp", "en-GB-x-rp", "Received Pronunciation, southern England"),
        Accent("scot", "en-GB-scotland", "Scotland"),
        Accent("carib", "en-029", "Caribbean"),
        Accent("l2-es", "en-us", "English as spoken after Spanish", _SPANISH),
        Accent("l2-de", "en-us", "English as spoken after German", _GERMAN),
        Accent("l2-fr", "en-us", "English as spoken after French", _FRENCH),
        Accent("l2-ja", "en-us", "English as spoken after Japanese", _JAPANESE),
    )
}


def accent_named(name: str) -> Accent:
    """The accent called `name`; raises EarmarkError naming those there are."""
    if name not in ACCENTS:
        raise EarmarkError(f"no accent is called {name!r}: there are {', '.join(ACCENTS)}")
    return ACCENTS[name]


def is_vowel(phoneme: str) -> bool:
    """Whether a phoneme, without stress mark, is a vowel or diphthong."""
    return phoneme[:1] in "aAeEiIoO0uUV@3"


def rewrite(phonemes: str, rules: Sequence[Rule]) -> str:
    """The phoneme string (``|`` between phonemes, spaces between words) as it stands after the rules."""
    return " ".join("|".join(_rewrite_word(word.split("|"), rules)) for word in phonemes.split())


def _rewrite_word(word: Sequence[str], rules: Sequence[Rule]) -> Iterator[str]:
    bare = [phoneme.lstrip(_STRESS_MARKS) for phoneme in word]
    for index, (phoneme, original) in enumerate(zip(bare, word, strict=True)):
        stress = original[: len(original) - len(phoneme)]
        becomes = next((rule.becomes for rule in rules if rule.fits(bare, index)), (phoneme,))
        for made in becomes:
            yield (stress if is_vowel(made) else "") + made
            stress = "" if is_vowel(made) else stress
