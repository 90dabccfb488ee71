"""What leaks from one set into another, and what becomes of it."""

from __future__ import annotations

import json
import logging

import pytest

from lineage import leakage as leaks
from lineage.derivation.derive import transform_set
from lineage.errors import EarmarkError
from lineage.ingestion.ingest import ingest
from lineage.leakage import Leakage, LeakageRefused, enforce, judge, leakage
from lineage.people import policy
from lineage.people.policy import LEAKS, Policy
from lineage.selection.sets import create_set, resolve_set
from lineage.store import Store
from tests.lineage.sounds import sound, write


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Sets of two speakers each: `a` of Ann and Ben, `b` of Ben and Cat (one sound of it is in `a`), `c` of Dan and Eve."""
    folder = tmp_path_factory.mktemp("leaks")
    store = Store.init(folder / "store")
    sets = {
        "a": [(0, "ann", "Yes, please."), (1, "ann", "no"), (2, "ben", "perhaps")],
        "b": [(2, "ben", "perhaps not"), (3, "ben", "never"), (4, "cat", "yes please")],
        "c": [(5, "dan", "today"), (6, "eve", "tomorrow")],
    }
    for name, rows in sets.items():
        lines = []
        for n, who, text in rows:
            write(folder / f"{n}.wav", sound(seed=n))
            lines.append(json.dumps({"audio": f"{n}.wav", "speaker": who, "text": text}))
        (folder / f"{name}.jsonl").write_text("\n".join(lines))
        ingest(store, folder / f"{name}.jsonl")
    write(folder / "hum.wav", sound(seed=9))
    (folder / "hums.jsonl").write_text(json.dumps({"audio": "hum.wav", "kind": "noise"}))
    ingest(store, folder / "hums.jsonl")
    return store


def found(store: Store, train: str, test: str) -> dict[str, tuple[int, int]]:
    """(training samples, evaluation samples) that share something, by kind of leak."""
    shared = leakage(store, resolve_set(store, train).digest, resolve_set(store, test).digest)
    return {leak.kind: (len(leak.trained), len(leak.tested)) for leak in shared}


def test_leaks_by_audio_speaker_and_text(recorded: Store) -> None:
    assert found(recorded, "a", "b") == {"audio": (1, 1), "recording": (0, 0), "speaker": (1, 2), "text": (1, 1)}


def test_asked_the_other_way_round_the_sides_are_exchanged(recorded: Store) -> None:
    there, back = found(recorded, "a", "b"), found(recorded, "b", "a")
    assert back == {kind: (tested, trained) for kind, (trained, tested) in there.items()}


def test_a_set_leaks_wholly_into_itself_and_strangers_not_at_all(recorded: Store) -> None:
    assert found(recorded, "a", "a") == {**dict.fromkeys(LEAKS, (3, 3)), "recording": (0, 0)}
    assert found(recorded, "a", "c") == dict.fromkeys(LEAKS, (0, 0))


def test_what_was_made_of_a_recording_leaks_like_the_recording(recorded: Store) -> None:
    transform_set(recorded, "a", "speed", to="fast", parameters={"factor": 1.25})
    transform_set(recorded, "b", "resample", to="narrow", parameters={"rate": 8_000})
    assert found(recorded, "fast", "a")["audio"] == (3, 3)
    assert found(recorded, "fast", "narrow") == found(recorded, "a", "b")


def test_noise_under_both_is_no_leak(recorded: Store) -> None:
    for name in ("a", "c"):
        transform_set(recorded, name, "noise", to=f"{name}-hum", parameters={"snr_db": 5.0}, others="hums")
    assert found(recorded, "a-hum", "c-hum")["audio"] == (0, 0)
    assert found(recorded, "a-hum", "a")["audio"] == (3, 3)


@pytest.fixture(scope="module")
def interview(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Parts of one recording of 4 s: `first` 0-1 and 1-2, `second` 2-3 and 3-4, `across` 1.5-2.5."""
    folder = tmp_path_factory.mktemp("interview")
    store = Store.init(folder / "store")
    write(folder / "talk.wav", sound(4.0, seed=1))
    for name, starts in (("first", (0.0, 1.0)), ("second", (2.0, 3.0)), ("across", (1.5,))):
        lines = [{"audio": "talk.wav", "text": f"{name} {at}", "offset": at, "duration": 1.0} for at in starts]
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, lines)))
        ingest(store, folder / f"{name}.jsonl")
    return store


def parts(store: Store, train: str, test: str) -> dict[str, tuple[int, int]]:
    return {kind: n for kind, n in found(store, train, test).items() if kind in ("audio", "recording")}


def test_other_moments_of_a_recording_are_no_audio_leak(interview: Store) -> None:
    assert parts(interview, "first", "second") == {"audio": (0, 0), "recording": (2, 2)}
    assert parts(interview, "first", "across") == {"audio": (1, 1), "recording": (1, 0)}
    assert parts(interview, "across", "second") == {"audio": (1, 1), "recording": (0, 1)}
    assert parts(interview, "first", "first") == {"audio": (2, 2), "recording": (0, 0)}
    first, second = (resolve_set(interview, name).digest for name in ("first", "second"))
    assert [(leak.kind, action) for leak, action in judge(interview, first, [second]).leaks] == [("recording", "warn")]
    assert judge(interview, first, [second], rule(recording="refuse")).refused


def test_moments_stay_what_they_are_through_what_is_done_to_a_part(interview: Store) -> None:
    for name in ("first", "across"):
        transform_set(interview, name, "speed", to=f"{name}-fast", parameters={"factor": 1.25})
        transform_set(interview, f"{name}-fast", "resample", to=f"{name}-narrow", parameters={"rate": 8_000})
    transform_set(interview, "second", "trim", to="trimmed", parameters={"start_s": 0.6})
    assert parts(interview, "first-narrow", "second") == {"audio": (0, 0), "recording": (2, 2)}
    assert parts(interview, "across-narrow", "second") == {"audio": (1, 1), "recording": (0, 1)}
    assert parts(interview, "first-narrow", "across-fast") == {"audio": (1, 1), "recording": (1, 0)}
    assert parts(interview, "trimmed", "across") == {"audio": (0, 0), "recording": (2, 1)}


def test_a_part_leaks_from_the_whole(interview: Store) -> None:
    (whole,) = interview.sql("SELECT sample_id FROM samples WHERE duration_s = 4")["sample_id"].to_pylist()
    with interview.run("plan") as run:
        create_set(run, [whole], name="whole")
    assert parts(interview, "whole", "second") == {"audio": (1, 2), "recording": (0, 0)}


def test_the_record_is_asked_once_until_it_changes(recorded: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def counted(store: Store, train: str, test: str) -> list[Leakage]:
        asked.append((train, test))
        return search(store, train, test)

    search = leaks._leakage
    monkeypatch.setattr(leaks, "_leakage", counted)
    monkeypatch.setattr(leaks, "_known", {})
    a, b = (resolve_set(recorded, name).digest for name in "ab")
    verdicts = [judge(store, a, [b]) for store in (recorded, recorded, Store.open(recorded.root))]
    assert asked == [(a, b)]
    assert len({json.dumps(v.to_json()) for v in verdicts}) == 1
    with recorded.run("train"):
        pass
    judge(recorded, a, [b])
    assert len(asked) == 1
    transform_set(recorded, "a", "speed", to="faster", parameters={"factor": 1.1})
    judge(recorded, a, [b])
    assert len(asked) == 2


def test_everybody_in_a_mix_is_heard(recorded: Store) -> None:
    transform_set(recorded, "c", "noise", to="babble", parameters={"snr_db": 0.0}, others="a")
    mixed = found(recorded, "a", "babble")
    assert mixed["audio"][1] == 2
    assert mixed["text"] == (0, 0)


def rule(**fields: str) -> Policy:
    return Policy.parse({"name": "test", "leakage": fields})


def test_audio_is_refused_and_the_rest_is_warned_of(recorded: Store, caplog: pytest.LogCaptureFixture) -> None:
    a, b, c = (resolve_set(recorded, name).digest for name in "abc")
    assert judge(recorded, a, [c]).outcome == "allowed"
    assert judge(recorded, a, []).to_json() == {"outcome": "allowed", "leaks": []}
    with (
        pytest.raises(LeakageRefused, match=rf"audio leakage: 1 of 3 samples of evaluation set {b[:12]}") as refused,
        recorded.run("train") as run,
    ):
        enforce(run, judge(recorded, a, [c, b]))
    assert " — " in str(refused.value)
    failed = recorded.runs()[-1]
    assert (failed.status, failed.result["leakage"]["outcome"]) == ("failed", "refused")
    caplog.set_level(logging.WARNING, "earmark")
    with recorded.run("train") as run:
        verdict = judge(recorded, a, [b], rule(audio="allow", speaker="warn", text="allow"))
        enforce(run, verdict, quietly=True)
        assert not caplog.messages
        enforce(run, verdict)
    assert [m.split(":")[0] for m in caplog.messages] == ["speaker leakage"]
    kept = recorded.runs()[-1].result["leakage"]
    assert [(leak["kind"], leak["action"], leak["tested"]) for leak in kept["leaks"]] == [
        ("audio", "allow", 1), ("speaker", "warn", 2), ("text", "allow", 1),
    ]  # fmt: skip
    assert not any(word in json.dumps(kept) for word in ("ben", "perhaps", "please"))


def test_a_policy_in_force_decides(recorded: Store) -> None:
    a, b = (resolve_set(recorded, name).digest for name in "ab")
    policy.adopt(recorded, rule(audio="warn", text="refuse"))
    assert [(leak.kind, action) for leak, action in judge(recorded, a, [b]).leaks] == [
        ("audio", "warn"), ("speaker", "warn"), ("text", "refuse"),
    ]  # fmt: skip
    assert judge(recorded, a, [b], rule(text="allow", audio="allow", speaker="allow")).outcome == "allowed"
    policy.adopt(recorded, None)
    assert judge(recorded, a, [b]).refused


def test_the_rule_is_read_with_care_and_leaves_older_digests_as_they_were() -> None:
    with pytest.raises(EarmarkError, match="leakage knows no 'sound'"):
        rule(sound="warn")
    with pytest.raises(EarmarkError, match="leakage"):
        rule(audio="ignore")
    plain = Policy.parse({"name": "test"})
    assert plain.digest == "1bcf9a846b1a298c6c0202cb647240f6704fd570e9d48da49d9d72c80416ecb4"
    assert rule(audio="warn").digest != plain.digest
