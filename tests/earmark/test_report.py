"""`earmark audit report`: the answers on the terminal, one HTML file, JSON of the shape that is written down."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from jsonschema import Draft202012Validator

from influence.report.machine import schema
from lineage.store import Store
from tests.earmark.test_cli import earmark, said
from tests.influence.report.conftest import effect, put
from tests.influence.report.surroundings import surround

pytestmark = pytest.mark.usefixtures("here")


def test_one_audit_three_ways(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answer = {"sentence": "removing a raises WER on a by more than 2 points", "p": 0.001, "p_adjusted": 0.002}
    answer |= {"verdict": "supported", "reason": "it does"}
    store = Store.init(here / "my-store")
    put(store, [effect("a", "a", 0.1), effect("a", "all", 0.01)], name="mine", plan={}, hypotheses=[answer])
    report = ("audit", "report", "mine", "--store", "my-store")
    earmark(*report)
    told = said(capsys)
    assert told.startswith("supported: removing a raises WER on a by more than 2 points")
    assert "helps: removing a, WER on a: +10.0\u00a0points (95\u00a0% interval +8.0 to +12.0)" in told
    earmark(*report, "--json", "--html", "report.html")
    document = json.loads(said(capsys))
    Draft202012Validator(schema()).validate(document)
    assert [e["estimate"] for e in document["effects"]] == [0.1, 0.01]
    assert ElementTree.parse(here / "report.html").getroot().tag == "html"
    earmark(*report, "--html", "report.html")
    assert "report.html" in said(capsys)


def test_every_intervention_is_told_by_what_was_measured_and_an_open_one_says_why(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = Store.init(here / "my-store")
    fields = {"metric": "loss", "verdict": "not identifiable", "reason": "one seed only"}
    put(store, [effect("a", "a", 0.1, **fields), effect("a", "all", 0.1, **fields), effect("b", "all", 0.2, **fields)])
    earmark("audit", "report", "audit", "--store", "my-store")
    lines = said(capsys).splitlines()
    assert [line.split(": ")[1] for line in lines] == ["removing a, loss on a", "removing b, loss on all"]
    assert all(line.endswith("Why: one seed only") for line in lines)


def test_what_stands_beside_is_told_in_lines(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    graph = {"edges": [["noise", "errors"], ["accent", "errors"]], "unobserved": []}
    surround(Store.init(here / "my-store"), ["accent=a", "accent=b"], graph)
    earmark("audit", "report", "audit", "--store", "my-store")
    told = said(capsys).replace("\u00a0", " ")
    for line in (
        "interaction of accent=a × accent=b, WER on all: −2.0 points (95 % interval −3.0 to −1.0)",
        "gap of accent=b: raw +11.0 points (95 % interval +8.0 to +14.0); adjusted for noise +5.0 points (95 % interval "
        "+2.0 to +8.0); placebo stands, random common cause stands, subset FALLS",
        "gap of device=<b>: not told: no overlap",
        "1. 24.0 min more of accent=a, WER on all: 21.0 % becomes 17.0 % (14.0 to 20.0 %)",
        "discovered, confirmed: accent=a & noise=hum: gap on other voices +12.0 points (95 % interval +4.0 to +20.0)",
    ):
        assert line in told


def test_mistakes_end_in_one_line(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(Store.init(here / "my-store"), [effect("a", "a", 0.1)], name="mine")
    earmark("audit", "report", "yours", "--store", "my-store", status=2)
    earmark("audit", "report", "mine", "--store", "my-store", "--html", "no/such/folder.html", status=2)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(" — ")[0] for line in lines] == [
        "earmark: no audit 'yours'; on record: " + lines[0].rpartition(" ")[2],
        "earmark: cannot write no/such/folder.html: No such file or directory",
    ]
