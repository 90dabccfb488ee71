"""Where a base checkpoint comes from, and what exactly it is.

A recipe names its base in one of three ways: `earmark:NAME`, packaged with Earmark; a local folder; a hub id `owner/name`.
(A fourth, `model:NAME`, is a model on record, which `training.models.start` finds in its store.) All end as a local folder
in the format of `transformers`. Its digest is over those files that decide what the model does (weights, configuration,
tokeniser, feature extractor), so a card or a licence may change beside them. It is computed as the store computes the
digest of a folder, so a base kept as an artifact has the same name there.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import huggingface_hub
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

from lineage.chain import SCHEME as MODEL
from lineage.errors import EarmarkError, UnknownName
from lineage.identity import digest_of, file_digest

PACKAGED = Path(__file__).parents[1] / "bases"
SCHEME = "earmark:"
PATTERNS = (
    "config.json", "generation_config.json", "preprocessor_config.json", "processor_config.json", "tokenizer*.json",
    "special_tokens_map.json", "added_tokens.json", "normalizer.json", "chat_template.*", "vocab.*", "merges.txt", "*.model",
    "tekken.json",
    "*.safetensors", "*.safetensors.index.json",
)  # fmt: skip
TWICE = "consolidated*"  # Mistral's repositories hold the same weights once more, in a format of their own
OLD_WEIGHTS = ("pytorch_model*.bin", "pytorch_model*.bin.index.json")


@dataclass(frozen=True)
class Base:
    """A checkpoint on this machine: how the recipe called it and the folder it lies in."""

    ref: str
    path: Path

    @property
    def files(self) -> list[Path]:
        """The files that decide what the model does, sorted by name."""
        found = {p for pattern in PATTERNS for p in self.path.glob(pattern) if p.is_file() and not p.match(TWICE)}
        if not any(p.suffix == ".safetensors" for p in found):
            found |= {p for pattern in OLD_WEIGHTS for p in self.path.glob(pattern) if p.is_file()}
        return sorted(found)

    @cached_property
    def digest(self) -> str:
        """SHA-256 over names and contents of `files`."""
        return digest_of([[p.name, file_digest(p)] for p in self.files])

    @property
    def bytes(self) -> int:
        """Size of `files`."""
        return sum(p.stat().st_size for p in self.files)

    def copy_to(self, folder: Path) -> None:
        """Copy `files` into an existing folder."""
        for path in self.files:
            shutil.copyfile(path, folder / path.name)


@lru_cache(maxsize=16)
def find_base(ref: str) -> Base:
    """The base that `ref` names, fetched from the hub where it is a hub id that is not in the local cache.

    Raises:
        EarmarkError: there is none; says what was looked for and how to mend the recipe.
    """
    base = Base(ref, _folder(ref))
    if not (base.path / "config.json").is_file():
        raise EarmarkError(f"base {ref}: {base.path} has no config.json — give a folder that save_pretrained() wrote")
    if not any(p.suffix in (".safetensors", ".bin") for p in base.files):
        raise EarmarkError(f"base {ref}: {base.path} has no weights (*.safetensors) — give a complete checkpoint")
    return base


def _folder(ref: str) -> Path:
    if ref.startswith(SCHEME):
        name = ref.removeprefix(SCHEME)
        packaged = sorted(p.parent.name for p in PACKAGED.glob("*/config.json"))
        if name not in packaged:
            raise UnknownName("packaged base", name, packaged, "or give a folder or a hub id")
        return PACKAGED / name
    if ref.startswith(MODEL):
        raise EarmarkError(f"base {ref} is a model of a store, where only a recipe can begin — give its folder instead")
    path = Path(ref).expanduser()
    if path.is_dir():
        return path.resolve()
    if path.is_absolute() or ref.startswith((".", "~")) or ref.count("/") != 1:
        raise EarmarkError(
            f"there is no base at {ref} — give 'earmark:NAME', a checkpoint folder, or a hub id 'owner/name'"
        )
    return _fetch(ref)


def _fetch(ref: str) -> Path:
    try:
        return _cached(ref) or _downloaded(ref)
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise EarmarkError(
            f"base {ref} is neither a folder here nor to be had from the hub ({reason}) — check the name and the connection"
        ) from error


def _cached(ref: str) -> Path | None:
    """The snapshot in the hub's cache on this machine, if it is complete."""
    try:
        folder = Path(
            huggingface_hub.snapshot_download(
                ref, allow_patterns=list(PATTERNS), ignore_patterns=TWICE, local_files_only=True
            )
        )
    except LocalEntryNotFoundError:
        return None
    whole = (folder / "config.json").is_file() and any(p.suffix in (".safetensors", ".bin") for p in folder.iterdir())
    return folder if whole else None


def _downloaded(ref: str) -> Path:
    wanted = list(PATTERNS)
    if not any(name.endswith(".safetensors") for name in huggingface_hub.list_repo_files(ref)):
        wanted += OLD_WEIGHTS
    return Path(huggingface_hub.snapshot_download(ref, allow_patterns=wanted, ignore_patterns=TWICE))
