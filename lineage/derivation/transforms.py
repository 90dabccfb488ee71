"""Transforms: ways of making samples out of samples, each written as one function.

A transform takes its parents with their sound and gives a `Result`: the child's sound, and where in it each parent lies.
Everything else (ids, edges, speaker, roots, licence, the vault) is done for all of them by `lineage.derivation.derive`. To
add one, write a function with the decorator; its keyword arguments, typed and bounded by pydantic, are its parameters::

    @transform("reverse")
    def reverse(parents: Sequence[Parent], draw: Draw) -> Result:
        wave = parents[0].wave
        return whole(Waveform(wave.pcm[::-1].copy(), wave.rate))

Random choices come from `Draw` alone (see `lineage.derivation.chance`), and a parameter marked `DRAWN` may be a range to
draw from; the function is always given plain values. Transforms that need more than a few lines of arithmetic stand with
it in a file of their own, named in `_FILES`. The code version of a transform covers that file and those that all share,
and no others.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TypeVar, get_type_hints

import rfc8785
import soundfile
from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from lineage import identity
from lineage.derivation.chance import DRAWN, Draw, ranged
from lineage.errors import EarmarkError, UnknownName
from lineage.machine import environment
from lineage.sound import waveforms
from lineage.sound.audio import Waveform

PACKAGES = ("numpy", "soxr")  # whose arithmetic a child's samples depend on, with libsndfile
_SHARED = ("sound/audio.py", "derivation/chance.py", "derivation/transforms.py", "sound/waveforms.py")
_FILES = ("codecs", "relabel", "rooms", "timescale")

Rate = Annotated[int, Field(ge=4_000, le=192_000, description="Sampling rate of the child, Hz.")]
Seconds = Annotated[float, Field(ge=0, le=3_600)]


@dataclass(frozen=True)
class Parent:
    """A sample that a child is made of; `part` is the piece of it that is wanted, in seconds, where one was asked for."""

    id: uuid.UUID
    wave: Waveform
    attributes: Mapping[str, str]
    part: tuple[float, float] | None = None


class Placement(NamedTuple):
    """Where a parent lies in the child: starts in each and duration in the child, all in seconds, and its gain in dB.

    A parent that is shorter than the duration is repeated from its beginning.
    """

    parent_start_s: float
    child_start_s: float
    duration_s: float
    gain_db: float = 0.0


@dataclass(frozen=True)
class Result:
    """A child: its sound, one placement for each parent in order, and what its attributes gain."""

    wave: Waveform
    placements: Sequence[Placement]
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Transform:
    """A registered transform.

    `joins`: makes one child of several samples. `mixes`: takes one of a pool of other samples as its second parent.
    `cuts`: needs to be told which part. `draws`: makes random choices, so the seed matters even if no parameter is drawn.
    `stretches`: the duration is divided by its parameter `factor`.
    """

    name: str
    make: Callable[..., Result]
    parameters: type[BaseModel]
    joins: bool = False
    mixes: bool = False
    cuts: bool = False
    draws: bool = False
    stretches: bool = False

    @property
    def doc(self) -> str:
        """What it does, in a sentence."""
        return (inspect.getdoc(self.make) or "").splitlines()[0]

    def check(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Parameters with their defaults and proper types (text such as '10' is taken for a number); ranges stay ranges.

        Raises:
            EarmarkError: one is unknown, missing or out of bounds.
        """
        known = self.parameters.model_fields
        for name in parameters:
            if name not in known:
                raise UnknownName(f"parameter of {self.name}", name, known)
        try:
            return self.parameters(**parameters).model_dump(mode="json")
        except ValidationError as error:
            first = error.errors()[0]
            said = first["msg"].removeprefix("Value error, ")
            said = said[:1].lower() + said[1:]
            raise EarmarkError(f"parameter {first['loc'][0]} of {self.name}: {said} — correct it") from None


_TRANSFORMS: dict[str, Transform] = {}
_Make = TypeVar("_Make", bound=Callable[..., Result])


def transform(name: str, **kind: bool) -> Callable[[_Make], _Make]:
    """Register a function as a transform; `kind` are the flags of `Transform`."""

    def register(make: _Make) -> _Make:
        hints = get_type_hints(make, include_extras=True)
        fields: dict[str, Any] = {
            p.name: (ranged(hints[p.name]), ... if p.default is p.empty else p.default)
            for p in inspect.signature(make).parameters.values()
            if p.kind is p.KEYWORD_ONLY
        }
        model = create_model(f"{name}_parameters", __config__=ConfigDict(extra="forbid", allow_inf_nan=False), **fields)
        _TRANSFORMS[name] = Transform(name, make, model, **kind)
        return make

    return register


def transforms() -> list[Transform]:
    """All registered transforms by name."""
    _load()
    return [_TRANSFORMS[name] for name in sorted(_TRANSFORMS)]


def find(name: str) -> Transform:
    """The transform of that name.

    Raises:
        UnknownName: there is none; the message lists those there are.
    """
    _load()
    if name not in _TRANSFORMS:
        raise UnknownName("transform", name, _TRANSFORMS)
    return _TRANSFORMS[name]


def _load() -> None:
    for name in _FILES:
        importlib.import_module(f"{__package__}.{name}")


def row(name: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """A transform with its (checked) parameters as a row of `transforms`; `transform_id` digests the rest."""
    parameters, code = dict(parameters), code_version(Path(inspect.getfile(find(name).make)))
    packages = environment.package_versions(*PACKAGES) | {"libsndfile": soundfile.__libsndfile_version__}
    return {
        "transform_id": identity.transform_id(name, parameters, code, packages),
        "name": name,
        "parameters": rfc8785.dumps(parameters).decode(),
        "code_version": code,
        "packages": rfc8785.dumps(packages).decode(),
    }


@cache
def code_version(file: Path) -> str:
    """Version and digest of what decides how a child of a transform in `file` sounds, and of nothing else."""
    digest = hashlib.sha256()
    for path in dict.fromkeys([*(Path(__file__).parents[1] / name for name in _SHARED), file]):
        digest.update(path.name.encode() + b"\x00" + path.read_bytes() + b"\x00")
    return f"{environment.package_versions('earmark').get('earmark', '0')}+{digest.hexdigest()[:12]}"


def whole(wave: Waveform, gain_db: float = 0.0, attributes: Mapping[str, str] | None = None) -> Result:
    """The result of a transform whose one parent fills the whole child."""
    return Result(wave, [Placement(0.0, 0.0, wave.duration_s, gain_db)], attributes or {})


@transform("resample")
def resample(parents: Sequence[Parent], draw: Draw, *, rate: Rate) -> Result:
    """Change the sampling rate."""
    return whole(waveforms.resample(parents[0].wave, rate))


@transform("mono")
def mono(parents: Sequence[Parent], draw: Draw) -> Result:
    """Mix all channels into one."""
    return whole(waveforms.mono(parents[0].wave))


@transform("trim")
def trim(
    parents: Sequence[Parent],
    draw: Draw,
    *,
    threshold_db: Annotated[
        float | None, Field(gt=0, le=120, description="What lies so far below the loudest 10 ms is silence.")
    ] = None,
    keep_s: Annotated[Seconds, Field(description="Silence to leave on either side.")] = 0.05,
    start_s: Annotated[Seconds, Field(description="To cut from the beginning, whatever it is.")] = 0.0,
    end_s: Annotated[Seconds, Field(description="To cut from the end, whatever it is.")] = 0.0,
) -> Result:
    """Cut fixed times off both ends, or the silence, or first the one and then the other."""
    if threshold_db is None and not start_s and not end_s:
        raise EarmarkError("nothing to trim by — give threshold_db (e.g. 40), start_s or end_s")
    wave = waveforms.segment(parents[0].wave, start_s, parents[0].wave.duration_s - end_s)
    if threshold_db is not None:
        first, last = waveforms.loud_part(wave, threshold_db, keep_s)
        wave, start_s = waveforms.segment(wave, first, last), start_s + first
    return Result(wave, [Placement(start_s, 0.0, wave.duration_s)])


@transform("segment", cuts=True)
def segment(parents: Sequence[Parent], draw: Draw) -> Result:
    """Cut a part out, which has words of its own."""
    assert parents[0].part is not None  # derive.children sees to it
    start_s, end_s = parents[0].part
    wave = waveforms.segment(parents[0].wave, start_s, end_s)
    return Result(wave, [Placement(start_s, 0.0, wave.duration_s)])


@transform("concat", joins=True)
def concat(
    parents: Sequence[Parent],
    draw: Draw,
    *,
    gap_s: Annotated[Seconds, Field(description="Silence between two parents.")] = 0.0,
) -> Result:
    """Put samples one after the other."""
    wave, starts = waveforms.concatenate([p.wave for p in parents], gap_s)
    return Result(wave, [Placement(0.0, at, p.wave.duration_s) for p, at in zip(parents, starts, strict=True)])


@transform("noise", mixes=True, draws=True)
def noise(
    parents: Sequence[Parent],
    draw: Draw,
    *,
    snr_db: Annotated[float, Field(ge=-60, le=120, description="Power of the speech over the noise's, dB."), DRAWN],
) -> Result:
    """Lay a noise from a pool under the speech, beginning anywhere in it."""
    speech, bed = parents
    span = bed.wave.duration_s - speech.wave.duration_s
    start_s = draw.unit(b"start") * (span if span > 0 else bed.wave.duration_s)
    mix = waveforms.add_noise(speech.wave, bed.wave, snr_db, start_s)
    duration = mix.wave.duration_s
    placements = [
        Placement(0.0, 0.0, duration, mix.speech_gain_db),
        Placement(start_s, 0.0, duration, mix.noise_gain_db),
    ]
    named = {"noise": bed.attributes["noise"]} if "noise" in bed.attributes else {}
    return Result(mix.wave, placements, {"snr_db": f"{snr_db:g}", **named})


@transform("speed", stretches=True)
def speed(
    parents: Sequence[Parent],
    draw: Draw,
    *,
    factor: Annotated[float, Field(ge=0.25, le=4, description="Times as fast; pitch moves with it."), DRAWN],
) -> Result:
    """Play faster or slower."""
    return whole(waveforms.speed(parents[0].wave, factor), attributes={"speed": f"{factor:g}"})


@transform("level")
def level(
    parents: Sequence[Parent],
    draw: Draw,
    *,
    gain_db: Annotated[float, Field(ge=-60, le=60, description="Gain, dB; what passes full scale is clipped."), DRAWN],
) -> Result:
    """Amplify or attenuate."""
    return whole(waveforms.level(parents[0].wave, gain_db), gain_db, {"level_db": f"{gain_db:g}"})


@transform("clip")
def clip(
    parents: Sequence[Parent],
    draw: Draw,
    *,
    over_db: Annotated[float, Field(ge=0, le=60, description="How far the loudest peak is cut down, dB."), DRAWN],
) -> Result:
    """Cut peaks off, as an overdriven microphone does; quieter parts stay as they are."""
    return whole(waveforms.clip(parents[0].wave, over_db), attributes={"clipped_db": f"{over_db:g}"})
