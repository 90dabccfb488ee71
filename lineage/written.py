"""What people write for us: a few lines of YAML, read into a pydantic model, all mistakes told in one line.

A class that inherits from `Written` is such a document. A message says in which file and field, what is wrong, and what the
field is for; a name that is not known is refused, because a misspelt option that is silently ignored is a wrong result.

Law: two documents that say the same have the same digest, however they are laid out.
"""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from lineage.errors import EarmarkError
from lineage.identity import digest_of

MAX_BYTES = 1 << 20
UNTOLD = "correct it"
_SHORT = reprlib.Repr()  # bounded, whatever aliases a hostile file nests
_TYPES = {
    "constrained-int",
    "constrained-float",
    "int",
    "float",
    "str",
    "bool",
    "dict",
}  # as pydantic names the choices of a union among the parts of a place
# What is said of a choice that was not meant, or of a list whose items are wrong, is told only where nothing closer is.
_OTHERWISE = {"model_type", "string_type", "int_type", "tuple_type", "too_short"}
_SHORT.maxlevel, _SHORT.maxstring, _SHORT.maxother = 1, 60, 60


class Written(BaseModel):
    """A document; `KIND` is what messages call it, `BEGIN` a line that it may begin with."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    KIND: ClassVar[str] = "document"
    BEGIN: ClassVar[str] = "name: NAME"

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read it from a YAML file.

        Raises:
            EarmarkError: it cannot be read, is not YAML, or fields are wrong; says which and how to mend them.
        """
        path = Path(path)
        try:
            if path.stat().st_size > MAX_BYTES:
                raise EarmarkError(f"{path} is too large for a {cls.KIND} — give a YAML file of a few lines")
            fields = yaml.load(path.read_text(encoding="utf-8"), _Loader)
        except FileNotFoundError:
            raise EarmarkError(f"there is no {cls.KIND} at {path} — give the path of a YAML file") from None
        except OSError as error:
            raise EarmarkError(f"{path} cannot be read: {error.strerror} — give the path of a YAML file") from error
        except UnicodeDecodeError as error:
            raise EarmarkError(f"{path}: byte {error.start} is not UTF-8 — save the {cls.KIND} as UTF-8") from error
        except RecursionError as error:
            raise EarmarkError(f"{path} is nested too deeply — a {cls.KIND} is 'field: value' lines") from error
        except (yaml.YAMLError, ValueError) as error:
            raise EarmarkError(f"{path}: {_printable(_yaml_problem(error, cls.KIND))}") from error
        return cls.parse(fields, str(path))

    @classmethod
    def parse(cls, fields: Any, where: str | None = None) -> Self:
        """One from its fields; `where` is what messages call it.

        Raises:
            EarmarkError: a field is missing, unknown or wrong.
        """
        where = where or f"the {cls.KIND}"
        if not isinstance(fields, Mapping):
            given = "empty" if fields is None else f"a {type(fields).__name__}"
            raise EarmarkError(f"{where} is {given}, no {cls.KIND} — write 'field: value' lines such as {cls.BEGIN}")
        odd = next((name for name in fields if not isinstance(name, str)), None)
        if odd is not None:
            raise EarmarkError(f"{where}: field {odd!r} is not a name — put quotes around it, or drop it")
        try:
            return cls.model_validate(dict(fields))
        except ValidationError as error:
            told = _told([(_place(e["type"], e["loc"]), e) for e in error.errors()])
            problems = "; ".join(_problem(cls, e["type"], place, e["msg"], e["input"]) for place, e in told)
            raise EarmarkError(f"{where}: {_printable(problems)}") from error

    @property
    def digest(self) -> str:
        """SHA-256 of it as canonical JSON."""
        return digest_of(self.model_dump(mode="json"))


def nested(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models that a field of that type may hold, alone or among others."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from nested(part)


class _GivenTwice(yaml.constructor.ConstructorError):
    """A field that stands twice in a document."""


class _Loader(yaml.SafeLoader):
    """Safe YAML in which a field may stand only once."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        """A mapping; a field given twice is an error at the place of the second."""
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise _GivenTwice(None, None, f"'{key.value}' is given twice", key.start_mark)
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def _yaml_problem(error: Exception, kind: str) -> str:
    mark = getattr(error, "problem_mark", None)
    place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark is not None else ""
    if isinstance(error, _GivenTwice):
        return f"{place}{error.problem} — keep one of them"
    problem = getattr(error, "problem", None) or str(error).partition("\n")[0]
    return f"{place}not YAML ({problem}) — correct it there; a {kind} is 'field: value' lines"


def _printable(text: str) -> str:
    """In one line, and without what would move a terminal's cursor."""
    return "".join(c if c.isprintable() else "·" for c in text)


def _place(kind: str, given: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """Where a field stands, without the types that pydantic tried there; one that is not known is called as it is."""
    tried = given[:-1] if kind == "extra_forbidden" else given
    known = tuple(part for part in tried if isinstance(part, int) or not ("[" in part or part in _TYPES))
    return known + given[len(tried) :]


def _told(found: Sequence[tuple[tuple[int | str, ...], Any]]) -> list[tuple[tuple[int | str, ...], Any]]:
    """What is to be told: of a field that may be one thing or another, not what it was never meant to be."""

    def closer(place: tuple[int | str, ...], other: tuple[int | str, ...], kind: str) -> bool:
        return other[: len(place)] == place and (len(other) > len(place) or kind not in _OTHERWISE)

    return [
        (place, e)
        for place, e in found
        if e["type"] not in _OTHERWISE or not any(closer(place, other, o["type"]) for other, o in found if o is not e)
    ]


def _problem(document: type[BaseModel], kind: str, place: tuple[int | str, ...], message: str, given: Any) -> str:
    name = ".".join(map(str, place))
    models = _models_at(document, place[:-1])
    if kind == "extra_forbidden":
        known = list(dict.fromkeys(field for model in models for field in model.model_fields))
        close = difflib.get_close_matches(str(place[-1]), known, n=1)
        hint = f"did you mean '{close[0]}'?" if close else f"known fields are {', '.join(known)}"
        return f"unknown field '{name}' — {hint}"
    if kind == "missing":
        return f"field '{name}' is missing — add it: {_meaning(models, str(place[-1]))}"
    message = message.removeprefix("Value error, ").replace("a valid tuple", "a list")
    if not place:
        return message
    message = message[0].lower() + message[1:]
    if kind == "too_short" and not given:
        message = "is empty"
    # numbers count the items of a list, keys those of a mapping: neither is described, the field that holds them is
    told = (_meaning(_models_at(document, place[:i]), str(place[i])) for i in reversed(range(len(place))))
    meaning = next((m for m in told if m != UNTOLD), UNTOLD)
    return f"field '{name}': {message}, not {_SHORT.repr(given)} — {meaning}"


def _models_at(document: type[BaseModel], place: Sequence[int | str]) -> list[type[BaseModel]]:
    """The models in one of which the fields below `place` stand. Where there is a choice, pydantic names the chosen kind."""
    models = [document]
    for part in place:
        fields = [model.model_fields[part] for model in models if part in model.model_fields]
        if fields:
            models = [m for field in fields for m in nested(field.annotation)]
        elif isinstance(part, str):
            models = [
                m for m in models if "kind" in m.model_fields and m.model_fields["kind"].default == part
            ] or models
    return models or [document]


def _meaning(models: Sequence[type[BaseModel]], name: str) -> str:
    told = [m.model_fields[name].description for m in models if name in m.model_fields]
    return (told[0] or name).rstrip(".") if told else UNTOLD
