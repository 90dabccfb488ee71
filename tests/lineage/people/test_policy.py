"""What a policy lets a run use, by what held at its moment."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from lineage.derivation.derive import transform_set
from lineage.errors import EarmarkError, UnknownName
from lineage.ingestion.ingest import ingest
from lineage.people import rights
from lineage.people.policy import Policy, PolicyRefused, adopt, enforce, in_force, judge, verdict_on
from lineage.proof.verifier import verify
from lineage.selection.sets import SampleSet, resolve_set
from lineage.store import Store
from tests.lineage.sounds import sound, write

ASR = "asr-training"


@pytest.fixture
def recorded(store: Store, tmp_path: Path) -> Store:
    """Four speakers in two accents, of a free source and one that is not; a hum under a licence of its own."""
    lines = []
    for n, (speaker, accent, source, licence) in enumerate(
        [
            ("Ann", "scot", "free", "CC0-1.0"),
            ("Ben", "scot", "free", "CC0-1.0"),
            ("Cat", "us", "free", "CC-BY-4.0 OR GPL-3.0-only"),
            ("Dan", "us", "kept", "CC-BY-NC-4.0"),
        ]
    ):
        write(tmp_path / f"{n}.wav", sound(seed=n))
        row = {"audio": f"{n}.wav", "text": f"say {n}", "speaker": speaker, "accent": accent, "source": source}
        lines.append(json.dumps({**row, "licence": licence, **({"gender": "f"} if n == 0 else {})}))
    (tmp_path / "speech.jsonl").write_text("\n".join(lines))
    write(tmp_path / "hum.wav", sound(seed=9, seconds=0.3))
    (tmp_path / "hums.jsonl").write_text(json.dumps({"audio": "hum.wav", "kind": "noise", "licence": "CC-BY-SA-4.0"}))
    for name in ("speech", "hums"):
        ingest(store, tmp_path / f"{name}.jsonl", copy=True)
    return store


def policy(**fields: Any) -> Policy:
    return Policy.parse({"name": "test", **fields})


def found(store: Store, p: Policy, ref: str = "speech", when: datetime | None = None) -> list[tuple[str, str, int]]:
    verdict = judge(store, p, resolve_set(store, ref).digest, when)
    return [(v.rule, v.detail, v.samples) for v in verdict.violations]


def test_licences_are_read_as_expressions(recorded: Store) -> None:
    assert found(recorded, policy(licences=["CC0-1.0", "CC-BY-4.0", "CC-BY-NC-4.0"])) == []
    assert found(recorded, policy(licences=["CC0-1.0", "GPL-3.0-only"])) == [
        ("licences", "CC-BY-NC-4.0 is not allowed", 1)
    ]
    assert found(recorded, policy(licences=["MIT"])) == [
        ("licences", "CC-BY-4.0 OR GPL-3.0-only is not allowed", 1),
        ("licences", "CC-BY-NC-4.0 is not allowed", 1),
        ("licences", "CC0-1.0 is not allowed", 2),
    ]


def test_a_mix_is_under_the_terms_of_its_noise_too(recorded: Store) -> None:
    transform_set(recorded, "speech", "noise", to="noisy", parameters={"snr_db": 10.0}, others="hums")
    free = ["CC0-1.0", "CC-BY-4.0", "CC-BY-NC-4.0"]
    assert found(recorded, policy(licences=free), "noisy") == [("licences", "CC-BY-SA-4.0 is not allowed", 4)]
    assert found(recorded, policy(licences=[*free, "CC-BY-SA-4.0"]), "noisy") == []


def test_what_is_stated_of_a_source_counts_before_what_its_rows_said_and_only_from_then_on(recorded: Store) -> None:
    p = policy(licences=["CC0-1.0", "CC-BY-4.0"])
    assert len(found(recorded, p)) == 1
    before = datetime.now(UTC)
    rights.state(recorded, "kept", licence="cc-by-4.0")
    assert found(recorded, p) == []
    assert len(found(recorded, p, when=before)) == 1
    rights.state(recorded, "free", licence="GPL-3.0-only")
    assert found(recorded, p) == [("licences", "GPL-3.0-only is not allowed", 3)]


def test_purposes(recorded: Store) -> None:
    p = policy(purposes=[ASR])
    assert {f[1] for f in found(recorded, p)} == {
        "nobody stated what source 'free' was collected for", "nobody stated what source 'kept' was collected for",
    }  # fmt: skip
    rights.state(recorded, "free", purpose=ASR)
    rights.state(recorded, "kept", purpose="diagnosis")
    assert found(recorded, p) == [("purposes", "source 'kept' was collected for diagnosis", 1)]


def test_consent_is_needed_of_everybody_who_is_heard(recorded: Store) -> None:
    p = policy(purpose=ASR, consent="required", consent_unless=["contract"])
    assert found(recorded, p) == [("consent", f"no consent to {ASR}, but to no purpose", 4)]
    rights.consent(recorded, "given", source="free")
    rights.state(recorded, "kept", basis="contract")
    assert found(recorded, p) == []
    transform_set(recorded, "speech", "noise", to="babble", parameters={"snr_db": 0.0}, others="speech", seed=1)
    assert found(recorded, p, "babble") == []
    now = datetime.now(UTC)
    rights.consent(recorded, "withdrawn", speaker="Ann")
    assert [f[2] for f in found(recorded, p)] == [1]
    heard = [f[2] for f in found(recorded, p, "babble")]
    with_ann = recorded.sql(
        "SELECT count(*) AS n FROM samples s WHERE sample_id IN (SELECT sample_id FROM members WHERE set_digest = ?) AND "
        "list_contains(root_ids, (SELECT any_value(sample_id) FROM samples WHERE attributes['gender'] = 'f' AND "
        "root_ids = [sample_id]))",
        [resolve_set(recorded, "babble").digest],
    )["n"][0].as_py()
    assert heard == [with_ann]
    assert found(recorded, p, when=now) == []


def test_few_speakers_and_forbidden_attributes(recorded: Store) -> None:
    p = policy(minimum_speakers={"all": 5, "accent": 2}, forbidden_attributes=["gender", "age"])
    assert found(recorded, p) == [
        ("minimum_speakers", "the whole set has 4 speakers of at least 5", 4),
        ("forbidden_attributes", "'gender' is on record", 1),
    ]
    with pytest.raises(UnknownName, match="accent"):
        found(recorded, policy(minimum_speakers={"acent": 2}))


def test_what_a_violation_leads_to(recorded: Store) -> None:
    rules = {"licences": ["MIT"], "minimum_speakers": {"all": 5}}
    digest = resolve_set(recorded, "speech").digest
    for how, outcome in (("refuse", "refused"), ("warn", "warned"), ({"licences": "warn"}, "refused")):
        assert judge(recorded, policy(**rules, on_violation=how), digest).outcome == outcome
    assert judge(recorded, policy(), digest).outcome == "allowed"


def test_the_verdict_is_on_the_record_of_the_run_even_of_a_refused_one(
    recorded: Store, caplog: pytest.LogCaptureFixture
) -> None:
    data: SampleSet = resolve_set(recorded, "speech")
    assert verdict_on(recorded, data.digest) is None
    strict = policy(licences=["CC0-1.0"])
    adopt(recorded, strict)
    assert in_force(recorded) == strict
    with pytest.raises(PolicyRefused, match=r"CC-BY-NC-4\.0 is not allowed, 1 sample"), recorded.run("train") as run:
        enforce(run, verdict_on(recorded, data.digest))
    refused = recorded.resolve_run(run.id)
    assert refused.status == "failed"
    assert refused.result["policy"]["outcome"] == "refused"
    assert refused.result["policy"]["digest"] == strict.digest
    with recorded.run("train") as run:
        enforce(run, verdict_on(recorded, data.digest, policy(licences=["CC0-1.0"], on_violation="warn")))
    assert recorded.resolve_run(run.id).result["policy"]["outcome"] == "warned"
    assert "CC-BY-NC-4.0 is not allowed" in caplog.text
    adopt(recorded, None)
    assert in_force(recorded) is None
    assert verify(recorded.root).ok


def test_a_policy_is_read_from_yaml_and_mistakes_are_told(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text("name: p\npurpose: a\nlicences: [mit, CC0-1.0]\nconsent: required\nminimum_speakers: {accent: 3}\n")
    read = Policy.load(path)
    assert read.licences == ("CC0-1.0", "MIT")
    assert Policy.parse(read.model_dump(mode="json")).digest == read.digest
    for text, said in [
        ("- a", "is a list, no policy"),
        ("name: p\nlicense: [MIT]", "did you mean 'licences'"),
        ("name: p\nlicences: [MIT AND X]", "list each of them"),
        ("name: p\nlicences: {allow: [MIT]}", "should be a list"),
        ("name: p\nlicences: ['no licence!']", "write SPDX"),
        ("name: p\nconsent: required", "say what for"),
        ("name: p\non_violation: {licence: warn}", "names no rule"),
        ("name: p\nminimum_speakers: {a: 0}", "from 1 upwards"),
        ("name: [", "not YAML"),
        ("name: p\nconsent: !!python/object:os.system {}", "not YAML"),
    ]:
        path.write_text(text)
        with pytest.raises(EarmarkError, match=said):
            Policy.load(path)
    with pytest.raises(EarmarkError, match="there is no policy at"):
        Policy.load(tmp_path / "none.yaml")


def test_a_policy_of_the_future_is_not_in_force_yet(recorded: Store) -> None:
    adopt(recorded, policy())
    assert in_force(recorded, datetime.now(UTC) - timedelta(hours=1)) is None
