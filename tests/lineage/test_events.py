"""Every run is told in the words of OpenLineage, to the store always and to others if they can be reached."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import confluent_kafka
import jsonschema
import pytest

from lineage.derivation.derive import transform_set
from lineage.events import delivery, journal
from lineage.ingestion.ingest import ingest
from lineage.proof.verifier import verify
from lineage.selection.sets import create_set, resolve_set
from lineage.store import Store
from tests.lineage.conftest import ids, rows
from tests.lineage.event_schemas import check, facets
from tests.lineage.sounds import sound, write


@pytest.fixture(autouse=True)
def _nobody_listens(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whatever is configured on this machine does not concern the tests."""
    for name in [n for n in os.environ if n.startswith("OPENLINEAGE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)


def events(store: Store, run: str | None = None) -> list[dict[str, Any]]:
    paths = [store.root / "openlineage" / f"{r.id}.ndjson" for r in store.runs() if run in (None, r.id)]
    return [json.loads(line) for path in paths for line in path.read_text().splitlines()]


def states(store: Store) -> list[str]:
    return [e["eventType"] for e in events(store)]


@pytest.fixture
def chain(store: Store, tmp_path: Path) -> Store:
    """Two recordings of Ottilie ingested, slowed down, and a model trained on them; also a run that failed."""
    lines = []
    for i in range(2):
        write(tmp_path / "secret-place" / f"{i}.wav", sound(0.2, seed=i))
        row = {"audio_path": f"{i}.wav", "text": f"hush hush {i}", "speaker": "Ottilie", "accent": "scot", "age": i}
        lines.append(json.dumps({**row, "source": "corpus", "licence": "CC0-1.0"}))
    manifest = tmp_path / "secret-place" / "words.jsonl"
    manifest.write_text("\n".join(lines))
    ingest(store, manifest)
    slow = transform_set(store, "words", "speed", to="slow", parameters={"factor": 0.9})
    with store.run("audit", job="who") as audit:
        with store.run("train", job="/home/ottilie/small", inputs=[slow.digest], parents=[audit.id], seed=1) as run:
            weights = run.put(b"weights")
            run.append("models", [{"model_id": "ab" * 32, "name": "small", "set_digest": slow.digest}])
            run.outputs += ["ab" * 32, weights]
        with store.run("evaluate", job="small", inputs=["ab" * 32, slow.digest], parents=[run.id]):
            pass
    with pytest.raises(ZeroDivisionError), store.run("train", job="small", inputs=[slow.digest]):
        raise ZeroDivisionError("Ottilie said hush hush")
    with pytest.raises(KeyboardInterrupt), store.run("train", job="small"):
        raise KeyboardInterrupt
    return store


def test_every_event_fits_the_published_schemas(chain: Store) -> None:
    told = events(chain)
    assert {e["eventType"] for e in told} == {"START", "COMPLETE", "FAIL", "ABORT"}
    for event in told:
        check(event)
    assert {key for event in told for key, _ in facets(event)} == {
        "processing_engine", "parent", "errorMessage", "jobType", "sourceCodeLocation", "version", "datasetType", "schema",
        "inputStatistics", "outputStatistics", "dataQualityMetrics", "earmark_sampleSet",
    }  # fmt: skip


def test_the_check_itself_finds_faults(chain: Store) -> None:
    good = next(e for e in events(chain) if e["eventType"] == "COMPLETE" and e["outputs"])
    for fault in (
        lambda e: e.pop("producer"),
        lambda e: e.update(eventTime="yesterday"),
        lambda e: e.update(eventType="DONE"),
        lambda e: e["run"].update(runId="17"),
        lambda e: e["outputs"][0]["facets"]["version"].pop("datasetVersion"),
        lambda e: e["outputs"][0]["outputFacets"]["outputStatistics"].update(rowCount="two"),
        lambda e: e["job"]["facets"]["sourceCodeLocation"].update(url="no address"),
        lambda e: e["outputs"][0]["facets"]["earmark_sampleSet"].update(size="two"),
    ):
        bad = json.loads(json.dumps(good))
        fault(bad)
        with pytest.raises(jsonschema.ValidationError):
            check(bad)


def test_both_ends_of_every_run_are_told(chain: Store) -> None:
    ends = {"completed": "COMPLETE", "failed": "FAIL", "aborted": "ABORT"}
    for run in chain.runs():
        start, end = events(chain, run.id)
        assert (start["eventType"], end["eventType"]) == ("START", ends[run.status])
        assert start["run"]["runId"] == end["run"]["runId"] == run.id
        assert (start["eventTime"], end["eventTime"]) == (run.started.isoformat(), run.ended.isoformat())
        assert start["job"]["namespace"] == end["job"]["namespace"] == f"earmark://{chain.origin[:16]}"
    failed = next(e for e in events(chain) if e["eventType"] == "FAIL")
    assert failed["run"]["facets"]["errorMessage"]["message"] == "ZeroDivisionError"


def test_data_sets_say_what_they_are(chain: Store) -> None:
    made = next(e for e in events(chain) if e["job"]["name"] == "transform.slow" and e["eventType"] == "COMPLETE")
    words, slow = resolve_set(chain, "words"), resolve_set(chain, "slow")
    (read,), (wrote,) = made["inputs"], made["outputs"]
    assert (read["name"], wrote["name"]) == ("sets/words", "sets/slow")
    assert read["facets"]["version"]["datasetVersion"] == words.digest
    assert read["inputFacets"]["inputStatistics"]["rowCount"] == 2
    assert read["inputFacets"]["dataQualityMetrics"]["columnMetrics"]["words"] == {
        "sum": 6.0, "count": 2, "quantiles": {},
    }  # fmt: skip
    assert wrote["outputFacets"]["outputStatistics"]["rowCount"] == 2
    set_ = wrote["facets"]["earmark_sampleSet"]
    assert (set_["setDigest"], set_["size"], set_["parents"]) == (slow.digest, 2, [words.digest])
    assert set_["durationSeconds"] == pytest.approx(slow.duration_s)
    fields = {f["name"]: f["type"] for f in wrote["facets"]["schema"]["fields"]}
    assert (fields["sample_id"], fields["accent"], fields["age"]) == ("UUID", "VARCHAR", "DOUBLE")
    train = next(e for e in events(chain) if e["job"]["name"] == "train.small" and e["eventType"] == "COMPLETE")
    assert [d["name"].split("/")[0] for d in train["outputs"]] == ["models", "artifacts"]
    assert train["outputs"][0]["facets"]["version"]["datasetVersion"] == "ab" * 32
    evaluated = next(e for e in events(chain) if e["job"]["name"] == "evaluate.small" and e["eventType"] == "COMPLETE")
    assert [d["name"] for d in evaluated["inputs"]] == ["models/small", "sets/slow"]


def test_a_parent_is_named_by_its_run_and_job_even_while_it_runs(chain: Store) -> None:
    audit = next(r for r in chain.runs() if r.kind == "audit")
    train = next(e for e in events(chain) if e["job"]["name"] == "train.small")
    parent = train["run"]["facets"]["parent"]
    assert (parent["run"]["runId"], parent["job"]["name"]) == (audit.id, "audit.who")
    evaluated = next(e for e in events(chain) if e["job"]["name"] == "evaluate.small")
    assert evaluated["run"]["facets"]["parent"]["job"]["name"] == "train.small"


def test_the_producer_is_ours_and_addresses_are_of_fixed_versions(chain: Store) -> None:
    for event in events(chain):
        for _, facet in [*facets(event), ("", {"_producer": event["producer"], "_schemaURL": event["schemaURL"]})]:
            assert facet["_producer"].startswith("https://github.com/earmark-audit/earmark/tree/v")
            assert re.search(r"/(v?\d+[.-]\d+[.-]\d+)/", facet["_schemaURL"])


def test_nothing_personal_and_no_sample_is_told(chain: Store) -> None:
    text = "".join(p.read_text() for p in (chain.root / "openlineage").iterdir()).lower()
    names = [str(v) for v in chain.read("samples", ["sample_id"])["sample_id"].to_pylist()]
    keys = [str(v) for v in chain.read("samples", ["speaker_key"])["speaker_key"].to_pylist()]
    for word in ("ottilie", "hush", "secret-place", "/home", *names, *keys):
        assert word not in text


def test_the_record_covers_the_events(chain: Store) -> None:
    assert verify(chain.root).ok
    path = chain.root / "openlineage" / f"{chain.runs()[0].id}.ndjson"
    path.write_bytes(path.read_bytes().replace(b"COMPLETE", b"COMPLETX"))
    assert [(f.file, f.kind) for f in verify(chain.root).findings] == [(f"openlineage/{path.name}", "changed")]


def test_long_work_says_that_it_goes_on(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "ALIVE_S", 0.0)
    with store.run("ingest", job="long") as run:
        run.append("samples", rows(ids(3)))
    assert states(store) == ["START", "RUNNING", "COMPLETE"]
    check(events(store)[1])


def test_a_killed_run_leaves_a_start_without_an_end(store: Store) -> None:
    code = """
import sys, time
from lineage.store import Store
with Store.open(sys.argv[1]).run("train", job="doomed"):
    print("begun", flush=True)
    time.sleep(60)
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", code, str(store.root)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    assert child.stdout is not None
    assert child.stdout.readline() == "begun\n"
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    (left,) = (store.root / "openlineage").iterdir()
    assert [json.loads(line)["eventType"] for line in left.read_text().splitlines()] == ["START"]
    report = verify(store.root)
    assert report.ok
    assert report.leftovers == [f"openlineage/{left.name}"]


def test_a_run_that_could_not_be_published_leaves_no_events(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(store, "publish", full)
    with pytest.raises(OSError, match="disk full"), store.run("train"):
        pass
    assert not list((store.root / "openlineage").iterdir())
    assert verify(store.root).leftovers == []


def test_opening_a_store_does_not_load_the_client() -> None:
    code = "import sys, lineage.store, lineage.events.delivery; print([m for m in sys.modules if 'openlineage' in m])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# -- receivers ---------------------------------------------------------------------------------------------------------


class Receiver:
    """A real HTTP server on this machine that keeps what it is sent."""

    def __init__(self, status: int = 201) -> None:
        received: list[dict[str, Any]] = []
        whole: list[dict[str, Any]] = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                event = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                whole.append(json.loads(json.dumps(event)))
                event["run"]["facets"].pop("tags")  # the client adds its version on the way
                received.append(event)
                self.send_response(status)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.received, self.whole = received, whole
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def await_events(self, count: int) -> list[dict[str, Any]]:
        deadline = time.monotonic() + 5
        while len(self.received) < count and time.monotonic() < deadline:
            time.sleep(0.01)
        return self.received

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


def test_a_receiver_gets_the_same_events_in_order(
    store: Store, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENLINEAGE_URL", receiver.url)
    for n in range(5):
        with store.run("ingest", job=f"n{n}") as run:
            run.append("samples", rows(ids(2, seed=n)))
            create_set(run, ids(2, seed=n), name=f"set {n}")
    assert receiver.await_events(10) == events(store)
    assert [e["eventType"] for e in receiver.received] == ["START", "COMPLETE"] * 5
    for event in receiver.whole:
        check(event)
    assert all("warnings" not in r.result for r in store.runs())


def test_receivers_come_from_the_standard_file_too(store: Store, receiver: Receiver, tmp_path: Path) -> None:
    second = Receiver()
    (tmp_path / "openlineage.yml").write_text(
        f"transport:\n  type: composite\n  transports:\n"
        f"    a: {{type: http, url: '{receiver.url}'}}\n    b: {{type: http, url: '{second.url}'}}\n"
    )
    try:
        with store.run("train"):
            pass
        assert receiver.await_events(2) == second.await_events(2) == events(store)
    finally:
        second.close()


def test_kafka_gets_the_same_events_in_order(store: Store, tmp_path: Path) -> None:
    """The broker is a real one as far as the protocol goes; it lives in this process."""
    broker = confluent_kafka.Producer({"test.mock.num.brokers": 1, "log_level": 0})
    (address,) = (f"{b.host}:{b.port}" for b in broker.list_topics(timeout=5).brokers.values())
    (tmp_path / "openlineage.yml").write_text(
        f"transport: {{type: kafka, topic: lineage, flush: true, config: {{bootstrap.servers: '{address}', log_level: 0}}}}"
    )
    for n in range(2):
        with store.run("train", job=f"n{n}"):
            pass
    reader = confluent_kafka.Consumer({"bootstrap.servers": address, "group.id": "g", "log_level": 0})
    partitions = reader.list_topics("lineage", timeout=5).topics["lineage"].partitions
    reader.assign([confluent_kafka.TopicPartition("lineage", p, 0) for p in partitions])
    messages = [json.loads(m.value()) for m in (reader.poll(5) for _ in range(4)) if m is not None and not m.error()]
    reader.close()
    for event in messages:
        event["run"]["facets"].pop("tags", None)
    by_time = sorted(messages, key=lambda e: (e["job"]["name"], e["eventType"] != "START"))
    assert by_time == events(store)
    for n in range(2):
        assert [e["eventType"] for e in messages if e["job"]["name"] == f"train.n{n}"] == ["START", "COMPLETE"]


def test_an_unreachable_receiver_costs_a_warning_and_nothing_else(
    store: Store, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as closed:  # a port at which nobody listens
        closed.bind(("127.0.0.1", 0))
        url = f"http://user:password@127.0.0.1:{closed.getsockname()[1]}"
    monkeypatch.setenv("OPENLINEAGE__TRANSPORT", json.dumps({"type": "http", "url": url, "retry": {"total": 1}}))
    begun = time.monotonic()
    for _ in range(3):
        with store.run("train"):
            pass
    assert time.monotonic() - begun < delivery.PATIENCE_S + 2
    assert states(store) == ["START", "COMPLETE"] * 3
    assert [r.status for r in store.runs()] == ["completed"] * 3
    for run in store.runs():
        assert run.result["warnings"][0].startswith("OpenLineage: the http receiver cannot be reached")
    said = capfd.readouterr().err.splitlines()
    assert len(said) == 1
    assert str(store.root / "openlineage") in said[0]
    assert "password" not in said[0]


def test_a_receiver_that_never_answers_is_waited_for_once(
    store: Store, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(delivery, "PATIENCE_S", 0.2)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()  # it accepts, and says nothing
        monkeypatch.setenv("OPENLINEAGE_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        begun = time.monotonic()
        for _ in range(5):
            with store.run("train"):
                pass
        assert time.monotonic() - begun < 2.0
    assert "no answer" in store.runs()[-1].result["warnings"][0]
    assert len(capfd.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize(
    "config",
    [
        '{"type": "pigeon"}',
        '{"type": "http"}',
        '{"type": "kafka"}',
        '{"type": "composite", "transports": [{"type": "http"}]}',
    ],
)
def test_a_configuration_that_is_wrong_costs_a_warning_and_nothing_else(
    store: Store, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], config: str
) -> None:
    monkeypatch.setenv("OPENLINEAGE__TRANSPORT", config)
    with store.run("train"):
        pass
    (run,) = store.runs()
    assert run.status == "completed"
    assert "no receiver that can be used" in run.result["warnings"][0]
    assert len(capfd.readouterr().err.splitlines()) == 1


def test_a_transport_whose_package_is_missing_says_so_in_one_line(
    store: Store, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "confluent_kafka", None)
    config = {"type": "kafka", "topic": "lineage", "flush": True, "config": {"bootstrap.servers": "127.0.0.1:1"}}
    monkeypatch.setenv("OPENLINEAGE__TRANSPORT", json.dumps(config))
    with store.run("train"):
        pass
    (said,) = capfd.readouterr().err.splitlines()
    assert "confluent_kafka is not installed" in said
