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


def test_mistakes_end_in_one_line(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(Store.init(here / "my-store"), [effect("a", "a", 0.1)], name="mine")
    earmark("audit", "report", "yours", "--store", "my-store", status=2)
    earmark("audit", "report", "mine", "--store", "my-store", "--html", "no/such/folder.html", status=2)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(" — ")[0] for line in lines] == [
        "earmark: no audit 'yours'; on record: " + lines[0].rpartition(" ")[2],
        "earmark: cannot write no/such/folder.html: No such file or directory",
    ]
