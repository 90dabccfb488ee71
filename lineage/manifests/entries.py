"""One row of a manifest, checked and understood; a pure function from columns to an `Entry`.

Words are kept as they were given, but for two things that no ear can hear: they are brought to Unicode's composed form
(NFC), so that one sentence typed on two systems is one sentence, and white space around them is dropped. Nothing else
(case, punctuation, spelling) is touched here; that is the business of a normaliser, on the record.
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass

from lineage.errors import shown
from lineage.manifests import RowRefused
from lineage.manifests.columns import AUDIO, KNOWN, RESERVED, TEXT, canonical, is_attribute, is_personal, resembles

KINDS = ("speech", "noise")
MAX_TEXT = 10_000  # characters
MAX_VALUE = 1_000  # characters of an attribute
MAX_COLUMNS = 64
MAX_ENTITIES = 100

_BROKEN = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufffd]")
_TYPE = re.compile(r"[A-Za-z_][\w-]{0,63}")
_FOREIGN = re.compile(r"[^\x00-\x7f]{2,}")


@dataclass(frozen=True)
class Entry:
    """What a row says about one recording, or about the part of it from `offset_s` on.

    `text` is None for noise. `attributes` will be public; `particulars` look personal and belong to the vault,
    as do the entities tagged in the text (`entities`, as JSON).
    """

    audio: str
    text: str | None
    kind: str
    speaker: str | None
    source: str | None
    licence: str | None
    duration_s: float | None
    offset_s: float | None
    sample_rate: int | None
    attributes: dict[str, str]
    particulars: dict[str, str]


def entry(values: Mapping[str, object]) -> Entry:
    """Understand a row's values by column name.

    Raises:
        RowRefused: something in the row cannot go on the record as it is.
    """
    if len(values) > MAX_COLUMNS:
        raise RowRefused(
            "column", f"row has {len(values)} columns, more than {MAX_COLUMNS}", "keep those you will ask by"
        )
    row = _by_meaning(values)
    known = {name: row.pop(name) for name in KNOWN if name in row}
    for name in row:
        meant = resembles(name)
        if meant is not None and meant not in known:
            raise RowRefused("column", f"unknown column '{shown(name)}'", f"did you mean '{meant}'?")
    kind = _label(known, "kind") or "speech"
    if kind not in KINDS:
        raise RowRefused("value", f"kind is '{shown(kind)}'", "write 'speech' or 'noise'")
    rate = _number(known, "sample_rate")
    attributes: dict[str, str] = {}
    particulars: dict[str, str] = {}
    language = _label(known, "language")
    if language is not None:
        attributes["language"] = language
    for name, raw in row.items():
        value = _scalar(name, raw)
        if value is None:
            continue
        if is_personal(name):
            particulars[name] = value
        elif is_attribute(name):
            attributes[name] = value
        elif name in RESERVED:
            raise RowRefused("column", f"the record uses the column name '{name}' itself", "rename the column")
        else:
            problem = f"'{shown(name)}' cannot be a column's name"
            raise RowRefused("column", problem, "use up to 64 letters, digits and underscores")
    text = _words(known, kind)
    entities = _entities(known.get("entities"), text)
    if entities is not None:
        particulars["entities"] = entities
    return Entry(
        audio=_audio(known),
        text=text,
        kind=kind,
        speaker=_label(known, "speaker"),
        source=_label(known, "source"),
        licence=_label(known, "licence"),
        duration_s=_number(known, "duration", least=0.0),
        offset_s=_number(known, "offset"),
        sample_rate=None if rate is None else round(rate),
        attributes=attributes,
        particulars=particulars,
    )


def transcript(value: object) -> str:
    """Words in composed form, without white space around them.

    Raises:
        RowRefused: not a string, empty, or broken on its way through some encoding.
    """
    if not isinstance(value, str):
        what = "missing" if value is None else f"{type(value).__name__}, not a string"
        raise RowRefused("text", f"text is {what}", 'give the words in quotes; noise needs "kind": "noise"')
    text = unicodedata.normalize("NFC", value.strip())
    broken = _BROKEN.search(text)
    if broken:
        code = ord(broken[0])
        what = "half a surrogate pair" if 0xD800 <= code < 0xE000 else "a control character"
        what = "the mark of a character lost in decoding" if code == 0xFFFD else what
        raise RowRefused("text", f"text holds {what} (U+{code:04X})", "export the transcript again as UTF-8")
    for run in _FOREIGN.findall(text):
        meant = _undo_mojibake(run)
        if meant:
            raise RowRefused("text", f"text is UTF-8 read as Latin-1 ('{run}' for '{meant}')", "read it as UTF-8")
    if all(unicodedata.category(c) in ("Cf", "Zs") for c in text):
        raise RowRefused("text", "text is empty", 'give the words; noise needs "kind": "noise"')
    if len(text) > MAX_TEXT:
        raise RowRefused("text", f"text has {len(text):,} characters, more than {MAX_TEXT:,}", "cut the recording")
    return text


def _undo_mojibake(run: str) -> str | None:
    """What a run of non-ASCII characters was before somebody read its UTF-8 as Windows-1252; None if it makes sense."""
    if len(run) < 4 and not run.startswith(("Â", "Ã", "â€")):  # 'ß“' ends many a quotation
        return None
    try:
        return run.encode("cp1252").decode("utf-8")
    except UnicodeError:
        return None


def _by_meaning(values: Mapping[str, object]) -> dict[str, object]:
    row: dict[str, object] = {}
    said: dict[str, str] = {}
    for raw, value in values.items():
        name = canonical(raw)
        if name in row:
            raise RowRefused(
                "column", f"'{shown(said[name])}' and '{shown(raw)}' both mean '{shown(name)}'", "keep one"
            )
        row[name], said[name] = value, raw
    return row


def _audio(known: Mapping[str, object]) -> str:
    value = known.get(AUDIO)
    if not isinstance(value, str) or not value.strip():
        what = "names no audio" if value is None or value == "" else f"names audio by {type(value).__name__}"
        raise RowRefused("no-audio", f"row {what}", "give the file's path as audio_path")
    if _BROKEN.search(value) or len(value) > 4096:
        raise RowRefused("no-audio", f"audio_path '{shown(value)}' cannot be a path", "give the file's path")
    if "://" in value:
        raise RowRefused("no-audio", f"audio_path '{shown(value)}' is a URL", "download the file and give its path")
    return value


def _words(known: Mapping[str, object], kind: str) -> str | None:
    value = known.get(TEXT)
    if kind == "speech":
        return transcript(value)
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    raise RowRefused("value", "row is noise and has text", "drop the text, or the kind")


def _entities(value: object, text: str | None) -> str | None:
    """The names, numbers and terms tagged in a transcript, as JSON: a list of `{"text": …, "type": …}`.

    Each is given as its words alone (its type is then 'entity') or in that form; the whole may be JSON text.
    """
    mend = 'give a list of words of the text, or of {"text": …, "type": …}'
    if isinstance(value, str) and value.strip():
        try:
            value = json.loads(value)
        except ValueError as error:
            raise RowRefused("value", "entities are not JSON", mend) from error
    if value is None or value == "" or value == []:
        return None
    if not isinstance(value, list) or len(value) > MAX_ENTITIES:
        raise RowRefused("value", f"entities are no list of at most {MAX_ENTITIES}", mend)
    found = []
    for item in value:
        tag = {"text": item, "type": "entity"} if isinstance(item, str) else item
        if (
            not isinstance(tag, dict)
            or set(tag) != {"text", "type"}
            or not all(isinstance(v, str) for v in tag.values())
        ):
            raise RowRefused("value", f"entity '{shown(item)}' is not understood", mend)
        words = unicodedata.normalize("NFC", tag["text"].strip())
        if not words or words.casefold() not in (text or "").casefold():
            raise RowRefused("value", f"entity '{shown(words)}' is not in the text", "spell it as the text does")
        if not _TYPE.fullmatch(tag["type"]):
            raise RowRefused("value", f"'{shown(tag['type'])}' is no type of entity", "use one word, e.g. name")
        found.append({"text": words, "type": tag["type"]})
    return json.dumps(found, ensure_ascii=False)


def _label(known: Mapping[str, object], name: str) -> str | None:
    return _scalar(name, known.get(name))


def _scalar(name: str, value: object) -> str | None:
    """A single value as text; None where there is nothing."""
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and not math.isfinite(value):
        raise RowRefused("value", f"column '{shown(name)}' is {value}", "leave it out")
    if not isinstance(value, (int, float, str)):
        raise RowRefused("value", f"column '{shown(name)}' is nested", "give one plain value a column")
    text = unicodedata.normalize("NFC", str(value).strip())
    if _BROKEN.search(text) or len(text) > MAX_VALUE:
        raise RowRefused("value", f"column '{shown(name)}' is broken or overlong text", "export it again as UTF-8")
    return text or None


def _number(known: Mapping[str, object], name: str, least: float | None = None) -> float | None:
    """A finite number of at least 0 (above `least` where given); None where there is nothing."""
    value = known.get(name)
    if value is None or value == "":
        return None
    try:
        if isinstance(value, bool) or not isinstance(value, (int, float, str)):
            raise ValueError
        number = float(value)
    except (ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number) or number < 0 or (least is not None and number <= least):
        raise RowRefused("value", f"{name} is '{shown(value)}'", "give a number in seconds or Hz, or leave it out")
    return number
