"""Pushing a folder to a hub repository, so that the repository afterwards holds just that folder.

All files go up in one commit, so nobody ever sees half a publication; what the repository holds besides goes in the same
commit. Calls are those of `huggingface_hub`, and so are address (`HF_ENDPOINT`) and token (`HF_TOKEN`, or where its own login
keeps it): the token is handed from there to the hub and told to nobody else.

Laws: what the hub refuses for a passing reason (an answer of 5xx or 429, a connection that drops) is tried again, waiting
twice as long each time; bulk that has arrived is not sent again, not even by another process after this one was killed,
since the hub knows it by its digest; pushing the same folder again makes no commit.
"""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from lineage.errors import EarmarkError

if TYPE_CHECKING:
    from huggingface_hub import HfApi

T = TypeVar("T")

KINDS = ("model", "dataset", "space")
MAIN = "main"
PAUSES = (1.0, 2.0, 4.0, 8.0)  # seconds before each further attempt
TOO_MANY = 429


@dataclass(frozen=True)
class Pushed:
    """Where a folder lies now: the repository, the branch, the commit (SHA), and the page that shows it."""

    repo: str
    kind: str
    branch: str
    commit: str
    url: str
    files: int
    bytes: int


def address(repo: str, kind: str) -> str:
    """The place of a repository on its hub, e.g. `datasets/owner/name`; models have no prefix.

    Raises:
        EarmarkError: it is no `owner/name`.
    """
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils._validators import validate_repo_id

    try:
        validate_repo_id(repo)
    except HFValidationError as error:
        raise EarmarkError(f"'{repo}' is no repository of a hub ({_first_line(error)}) — write owner/name") from error
    if repo.count("/") != 1:
        raise EarmarkError(f"'{repo}' does not say whose repository it is — write owner/name")
    return repo if kind == "model" else f"{kind}s/{repo}"


def token() -> str:
    """The hub's token.

    Raises:
        EarmarkError: there is none.
    """
    import huggingface_hub

    found = huggingface_hub.get_token()
    if not found:
        raise EarmarkError("there is no token for the hub — export HF_TOKEN=… (one that may write)")
    return found


def push(
    folder: Path,
    repo: str,
    *,
    kind: str = "model",
    private: bool | None = None,
    branch: str = MAIN,
    message: str = "Published by Earmark",
    forget: bool = False,
) -> Pushed:
    """Make a repository, if it is not there, and put the files of a folder into it in place of what it holds.

    Args:
        folder: what to push.
        repo: `owner/name`.
        kind: 'model', 'dataset' or 'space'.
        private: who may see a repository that is not there yet; None leaves it to the hub.
        branch: where to; made if it is not there.
        message: of the commit.
        forget: take earlier commits of the branch away, so that nobody can fetch what they held.

    Raises:
        EarmarkError: no token, or none that may write there; or the hub cannot be reached or keeps failing.
    """
    from huggingface_hub import HfApi

    place = address(repo, kind)
    api = HfApi(token=token())
    with _explained(place):
        _patiently(
            lambda: api.create_repo(
                repo, repo_type=kind, private=private, exist_ok=True, space_sdk="gradio" if kind == "space" else None
            )
        )
        if branch != MAIN:
            _patiently(lambda: api.create_branch(repo, branch=branch, repo_type=kind, exist_ok=True))
        commit = _patiently(lambda: _commit(api, folder, repo, kind, branch, message))
        if forget:
            _patiently(lambda: api.super_squash_history(repo, branch=branch, repo_type=kind, commit_message=message))
            commit = _patiently(lambda: str(api.repo_info(repo, repo_type=kind, revision=branch).sha))
    files = _files(folder)
    url = f"{api.endpoint}/{place}/tree/{branch}"
    return Pushed(repo, kind, branch, commit, url, len(files), sum(p.stat().st_size for p in files))


def _files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.is_file())


def _commit(api: HfApi, folder: Path, repo: str, kind: str, branch: str, message: str) -> str:
    """One attempt; it looks at the repository anew, since an attempt whose answer was lost may have succeeded."""
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    ours = {p.relative_to(folder).as_posix(): p for p in _files(folder)}
    there = api.list_repo_files(repo, repo_type=kind, revision=branch)
    operations: list[CommitOperationAdd | CommitOperationDelete] = [
        *(CommitOperationDelete(name, is_folder=False) for name in sorted(set(there) - ours.keys())),
        *(CommitOperationAdd(name, str(path)) for name, path in ours.items()),
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the hub's advice on metadata; what is wrong is an error
        done = api.create_commit(repo, [*operations], commit_message=message, repo_type=kind, revision=branch)
    return str(done.oid)


def _patiently(call: Callable[[], T]) -> T:
    """The result of a call, tried again while it fails for a passing reason."""
    for pause in PAUSES:
        try:
            return call()
        except Exception as error:
            if not _passing(error):
                raise
        time.sleep(pause)
    return call()


def _passing(error: BaseException) -> bool:
    """Whether waiting may help; the hub's client wraps what happens in its threads."""
    import httpx2
    from huggingface_hub.errors import HfHubHTTPError

    if isinstance(error, HfHubHTTPError):
        return error.response.status_code >= 500 or error.response.status_code == TOO_MANY
    if isinstance(error, (httpx2.TransportError, ConnectionError, TimeoutError, json.JSONDecodeError)):
        return True
    return isinstance(error, RuntimeError) and (error.__cause__ is None or _passing(error.__cause__))


@contextmanager
def _explained(place: str) -> Iterator[None]:
    """Tell of the hub's failures in one line; whatever the client says, never the token."""
    import httpx2
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    try:
        yield
    except OfflineModeIsEnabled as error:
        raise EarmarkError("the hub's client is set to offline — unset HF_HUB_OFFLINE") from error
    except HfHubHTTPError as error:
        status = error.response.status_code
        if status in (401, 403):
            raise EarmarkError(
                f"the hub does not let this token write to {place} (HTTP {status}) — give one that may, in HF_TOKEN"
            ) from None
        if _passing(error):
            raise EarmarkError(f"{_gave_up(place)} (HTTP {status}) — {MEND}") from None
        raise EarmarkError(f"the hub refuses {place} (HTTP {status}: {_first_line(error)}) — correct that") from None
    except (httpx2.HTTPError, RuntimeError, OSError, json.JSONDecodeError) as error:
        raise EarmarkError(f"{_gave_up(place)} ({_first_line(error.__cause__ or error)}) — {MEND}") from None
    except ValueError as error:
        raise EarmarkError(f"the hub refuses {place} ({_first_line(error)}) — correct that") from None


MEND = "run the same command again; what was uploaded is not sent again"


def _gave_up(place: str) -> str:
    return f"the hub keeps failing on {place}, after {len(PAUSES) + 1} attempts"


def _first_line(error: BaseException) -> str:
    from huggingface_hub import get_token

    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = "".join(c if c.isprintable() else "·" for c in (lines or [type(error).__name__])[0])[:200]
    secret = get_token()
    return text.replace(secret, "…") if secret else text
