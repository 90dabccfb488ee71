"""What people write for us: a few lines of YAML, read into a pydantic model, every mistake told in one line.

A class that inherits from `Written` is such a document. Law: two documents that say the same have the same digest, however
they are laid out.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from lineage.errors import EarmarkError
from lineage.identity import digest_of

MAX_BYTES = 1 << 20


class Written(BaseModel):
    """A document; `KIND` is what messages call it, `BEGIN` tells how one begins."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    KIND: ClassVar[str] = "document"
    BEGIN: ClassVar[str] = "name:"

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read it from a YAML file.

        Raises:
            EarmarkError: it cannot be read, is not YAML, or a field is wrong; says which and how to mend it.
        """
        path = Path(path)
        try:
            if path.stat().st_size > MAX_BYTES:
                raise EarmarkError(f"{path} is too large for a {cls.KIND} — give a YAML file of a few lines")
            fields = yaml.safe_load(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise EarmarkError(f"{path} cannot be read: {error.strerror} — give the path of a YAML file") from error
        except (UnicodeDecodeError, yaml.YAMLError, RecursionError, ValueError) as error:
            problem = " ".join(str(error).split())
            raise EarmarkError(f"{path} is not YAML: {problem} — correct it there") from error
        return cls.parse(fields, str(path))

    @classmethod
    def parse(cls, fields: Any, where: str | None = None) -> Self:
        """One from its fields; `where` goes into the message of an error."""
        where = where or f"the {cls.KIND}"
        if not isinstance(fields, Mapping):
            raise EarmarkError(f"{where} is no {cls.KIND} — write fields such as {cls.BEGIN}")
        try:
            return cls.model_validate(dict(fields))
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"]) or "the whole"
            mend = (
                f"known fields are {', '.join(cls.model_fields)}"
                if first["type"] == "extra_forbidden"
                else "correct it"
            )
            message = first["msg"].removeprefix("Value error, ").replace("a valid tuple", "a list")
            raise EarmarkError(f"{where}: {field}: {message} — {mend}") from error

    @property
    def digest(self) -> str:
        """SHA-256 of it as canonical JSON."""
        return digest_of(self.model_dump(mode="json"))
