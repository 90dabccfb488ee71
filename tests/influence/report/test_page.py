"""The page: well-formed whatever is in the data, complete, quiet about persons, and the same for the same record."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from influence.report.forest import forest
from influence.report.page import page
from influence.report.record import read
from influence.statistics.effects import Effect
from lineage.store import Store
from tests.influence.report.conftest import effect, put

HOSTILE = "noise=<script>alert('x')</script>\" onload=\"x &amp;\x00\u202e"
UNKNOWN: dict[str, Any] = dict.fromkeys(
    ("low", "high", "control", "control_low", "control_high", "difference", "difference_low", "difference_high")
)


def tree(text: str) -> ElementTree.Element:
    assert text.startswith("<!DOCTYPE html>\n")
    return ElementTree.fromstring(text.partition("\n")[2])


def seen(root: ElementTree.Element) -> str:
    return " ".join(" ".join(root.itertext()).replace("\u00a0", " ").split())


def cells(names: list[str], metrics: tuple[str, ...] = ("wer",)) -> list[Effect]:
    rng = random.Random(0)
    return [
        effect(a, b, rng.uniform(-0.1, 0.1) if a == b else rng.uniform(-0.01, 0.01), m)
        for m in metrics for a in names for b in ["all", *names]
    ]  # fmt: skip


def tables(root: ElementTree.Element, kind: str) -> Iterator[ElementTree.Element]:
    return (t for t in root.iter("table") if t.get("class") == kind)


def test_answers_come_first_then_evidence_then_how_it_was_done(bare: Store) -> None:
    answered = {"sentence": "removing a raises WER on a by more than 2 points", "p": 0.001, "p_adjusted": 0.002,
                "verdict": "supported", "reason": "it does"}  # fmt: skip
    put(bare, cells(["a", "b"], ("wer", "loss")), plan={"seeds": [4, 5]}, hypotheses=[answered])
    root = tree(page(read(bare, "audit")))
    assert [h.text for h in root.iter("h2")] == [
        "Answers", "Effects on WER", "Effects on loss", "Controls", "What was asked", "Failures", "Costs",
        "Code and environment", "To do it again, and to check it", "How to read this", "What it does not say",
    ]  # fmt: skip
    first = next(root.iter("li"))
    assert seen(first).startswith("✓ supported : removing a raises WER on a by more than 2 points")
    assert "Seeds 4, 5" in seen(root)


def test_every_table_has_a_caption_every_drawing_a_title_every_heading_a_scope(bare: Store) -> None:
    put(bare, cells(["a", "b"], ("wer", "loss")), plan={})
    root = tree(page(read(bare, "audit")))
    assert all(t[0].tag == "caption" and seen(t[0]) for t in root.iter("table"))
    assert all(h.get("scope") in ("row", "col") for h in root.iter("th"))
    drawn = [s for s in root.iter("svg") if s.get("role") == "img"]
    assert len(drawn) == 2 * (2 * 2 + 2)  # by metric: two slices and an axis, on themselves and on everything
    assert all(s[0].tag == "title" and s[0].text for s in drawn)
    assert root.get("lang") == "en"


def test_colour_is_never_alone(bare: Store) -> None:
    """Whatever is coloured as a verdict says it in words, too."""
    put(bare, cells(["a", "b", "c"]))
    root = tree(page(read(bare, "audit")))
    coloured = [e for e in root.iter() if {"helps", "hurts", "none", "open"} & set((e.get("class") or "").split())]
    assert coloured
    assert all(re.search("helps|hurts|no effect|not identifiable", seen(e)) for e in coloured)


def test_hostile_names_are_shown_and_do_nothing(bare: Store) -> None:
    put(bare, cells([HOSTILE, "b"]), name="<img src=x>", failures={HOSTILE: f"KeyError: {HOSTILE}"})
    text = page(read(bare, "<img src=x>"))
    root = tree(text)
    assert not {"script", "img", "a", "link", "iframe"} & {e.tag for e in root.iter()}
    assert not [name for e in root.iter() for name in e.attrib if name.startswith("on") or name in ("href", "src")]
    assert "noise=<script>alert('x')</script>\" onload=\"x &amp;\ufffd" in seen(root)
    outside = [e for e in root.iter() if e.tag not in ("bdi", "title", "pre") and "\u202e" in (e.text or "")]
    assert outside == []  # what turns the direction of writing turns it within its own name


def test_nothing_is_fetched_from_anywhere(bare: Store) -> None:
    put(bare, cells(["a"]), plan={})
    text = page(read(bare, "audit"))
    assert not re.search(r"https?:|//[a-z]|url\(|@import|<script", text)


def test_folders_and_messages_stay_at_home(bare: Store) -> None:
    plan = {"recipe": {"name": "r", "base": "/home/anna/models/base"}, "fail_on": ["failures"]}
    failures = {
        "without a, seed 1": "Traceback …\nlineage.errors.EarmarkError: /home/anna/a.wav is cut off",
        "b": "Anna, no",
    }
    put(bare, cells(["a"]), plan=plan, failures=failures)
    text = page(read(bare, "audit"))
    assert "anna" not in text.lower()
    assert "base base" in seen(tree(text))
    assert "b an error without a, seed 1 EarmarkError" in seen(tree(text))
    assert "The plan says to fail on: failures." in seen(tree(text))
    assert str(bare.root) not in text


def test_without_an_interval_there_is_no_number(bare: Store) -> None:
    """One seed, no controls, no plan, columns that did not exist: an audit of former times."""
    once = {
        "intervention": None,
        "phrase": None,
        "dose": None,
        "verdict": "not identifiable",
        "reason": "one seed",
        "seeds": 1,
    }
    put(bare, [effect("a", t, 0.4321, minimum_detectable=None, **UNKNOWN, **once) for t in ("all", "a")])
    root = tree(page(read(bare, "audit")))
    text = seen(root)
    assert "43.2" not in text
    assert "no interval" in text
    assert "? not identifiable : a One seed." in text
    assert "No plan of this audit is on record" in text
    assert "Nothing was left out at random" in text
    assert not list(root.iter("circle"))


def test_sixty_slices_stay_readable(bare: Store) -> None:
    names = [f"group={i:02}" for i in range(60)]
    put(bare, cells(names))
    root = tree(page(read(bare, "audit")))
    wide = [len(next(iter(t.iter("thead")))[0]) for t in tables(root, "matrix")]
    assert max(wide) <= 7
    assert sum(w - 1 for w in wide) == 61
    own = next(tables(root, "forest"))
    assert len(own.findall("tbody/tr")) == 60


def test_other_interventions_are_named_in_full(bare: Store) -> None:
    done = {"intervention": "reweight", "dose": 2.0, "phrase": "weighting a by 2"}
    put(bare, [effect("a", "a", 0.05, **done), effect("a", "all", 0.01, **done), effect("a", "a", 0.04)])
    text = seen(tree(page(read(bare, "audit"))))
    assert "weighting a by 2 +5.0 points" in text
    assert "removing a" in text
    assert "worse under the intervention" in text


def test_the_saving_of_a_sequential_design_is_told(bare: Store) -> None:
    declaration = {"level": 0.95, "sequential": {"looks": [2, 3, 5], "spending": "pocock", "futility": 0.1}}
    put(
        bare,
        [
            effect("a", "a", 0.1, seeds=2, looks=1),
            effect("a", "all", 0.0, seeds=2, looks=1),
            effect("c", "all", 0.0, seeds=5, looks=3, verdict="not identifiable"),
            effect("b", "b", 0.0, seeds=3, looks=2),
        ],
        config={"declaration": declaration},
        planned=60,
    )
    text = seen(tree(page(read(bare, "audit"))))
    assert (
        "Spending of the error pocock Given up below a chance of 10 % Retrainings 24 of the 60 of the fixed design"
        in text
    )
    assert "Saved 60 %" in text
    assert (
        "removing a 1 of 3 2 3 of 5 ▲ helps removing b 2 of 3 3 2 of 5 = no effect larger than 3 points "
        "removing c 3 of 3 5 none ? not identifiable"
    ) in text  # each by its own cell, or by that on everything
    put(bare, [effect("a", "a", 0.1)], name="fixed")
    assert "Looks" not in page(read(bare, "fixed"))


@given(st.floats(-2, 2), st.floats(0, 1), st.floats(0, 1), st.floats(1e-4, 0.2))
def test_a_whisker_holds_its_dot_and_stays_on_the_axis(value: float, below: float, above: float, margin: float) -> None:
    drawn = ElementTree.fromstring(
        forest([effect("a", "a", value, low=value - below, high=value + above, margin=margin)], "x")
    )
    whisker = next(e for e in drawn.iter("line") if e.get("class") == "whisker")
    low, high, dot = (float(v.rstrip("%")) for v in (
        whisker.get("x1", ""), whisker.get("x2", ""), next(drawn.iter("circle")).get("cx", "")))  # fmt: skip
    assert 0 <= low <= dot <= high <= 100
    zero = next(e for e in drawn.iter("line") if e.get("class") == "zero")
    at = float(zero.get("x1", "").rstrip("%"))
    assert abs(dot - at) <= 0.02 or (dot > at) == (value > 0)  # places are rounded to hundredths


def test_the_same_record_gives_the_same_bytes(bare: Store) -> None:
    put(bare, cells(["b", "a"]), plan={"seeds": [0]})
    assert page(read(bare, "audit")) == page(read(Store.open(bare.root), "audit"))


def test_the_planted_slice_is_a_control_and_no_finding(bare: Store) -> None:
    planted = effect("planted", "all", -0.1, intervention="planted", verdict="hurts")
    put(bare, [*cells(["a"]), planted], plan={"planted": {"share": 0.1}, "null": ["a"], "fail_on": ["power", "null"]})
    root = tree(page(read(bare, "audit")))
    answers = next(root.iter("section"))
    assert "planted" not in seen(answers)
    assert "planted ▼ hurts the planted slice is found" in seen(root)
    assert "a ▲ helps not shown to be without effect" in seen(root)
    assert "The plan says to fail on: null." in seen(root)
