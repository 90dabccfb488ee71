"""Pages without a browser: what stands on them, what a link shows, what a click changes."""

from __future__ import annotations

import re
import uuid
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from dashboard.queries.evaluations import evaluations
from dashboard.queries.utterances import utterances
from lineage.selection.sets import members
from lineage.store import Store
from tests.dashboard import stores
from tests.dashboard.conftest import Look, address, html
from tests.dashboard.stores import Known

APP = Path(__file__).parents[2] / "dashboard" / "app.py"


def plain(page: AppTest) -> str:
    """The text of a page as somebody reads it."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html(page))).replace("\u00a0", " ")


# -- the app -----------------------------------------------------------------------------------------------------------


def test_the_app_opens_on_the_overview(known: Known, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EARMARK_STORE", str(known.store.root))
    page = AppTest.from_file(APP, default_timeout=30).run()
    assert not page.exception
    assert "What is on record" in plain(page)


def test_the_app_says_in_a_line_that_there_is_no_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EARMARK_STORE", str(tmp_path / "nowhere"))
    page = AppTest.from_file(APP, default_timeout=30).run()
    assert not page.exception
    assert [e.value for e in page.error] == [
        f"there is no store at {tmp_path / 'nowhere'} — make one with: earmark init {tmp_path / 'nowhere'}"
    ]
    monkeypatch.delenv("EARMARK_STORE")
    page = AppTest.from_file(APP, default_timeout=30).run()
    assert "no store was named" in page.error[0].value


@pytest.mark.parametrize(
    ("view", "command"),
    [("overview", "earmark ingest"), ("slices", "earmark evaluate"), ("influence", "earmark audit")],
)
def test_an_empty_page_says_what_to_run(look: Look, bare: Store, view: str, command: str) -> None:
    assert command in html(look(view, bare))


# -- overview ----------------------------------------------------------------------------------------------------------


def test_overview_counts_and_lists(look: Look, known: Known) -> None:
    page = look("overview")
    seen = plain(page)
    assert "Utterances 36 24 recorded, 12 derived" in seen
    assert "Speakers 12" in seen
    assert "Models 2" in seen
    assert "✗ failed" in html(page)
    assert "all are there with the size they were written with" in seen
    assert known.model[:12] in seen


def test_overview_checks_every_byte_on_demand(look: Look) -> None:
    page = look("overview")
    page.button[0].click().run()
    assert not page.exception
    assert "Every byte is as it was written" in plain(page)


def test_overview_names_a_changed_file(own: Store, look: Look) -> None:
    store = own
    victim = store.root / store.segments("members")[0].path
    data = bytearray(victim.read_bytes())
    data[len(data) // 2] ^= 1
    victim.write_bytes(data)
    page = look("overview", store)
    assert "all are there with the size" in plain(page)  # a look does not read
    page.button[0].click().run()
    assert store.segments("members")[0].path in plain(page)
    assert "changed" in plain(page)


def test_lists_turn_by_the_address(look: Look) -> None:
    first, second = look("overview"), look("overview", runs="2")
    assert "1–10 of" in plain(first)
    assert "11–" in plain(second)
    assert plain(look("overview", runs="nonsense")) == plain(first)


# -- slices ------------------------------------------------------------------------------------------------------------


def test_slices_shows_rates_with_intervals_and_what_stands_behind_them(look: Look) -> None:
    seen = plain(look("slices"))
    assert "31.2 % 31.2 to 31.2 6 12 48" in seen or re.search(r"31\.[23] % [\d.]+ to [\d.]+ 6 12 48", seen)
    assert re.search(r"scot 37\.5 % 37\.5 to 37\.5 3 6 24", seen)
    assert "Of 48 words by 6 speakers, 6 were substituted, 6 missed and 3 made up; 0 of 12 utterances" in seen


def test_a_link_leads_to_a_slice_and_an_utterance(look: Look, known: Known) -> None:
    evaluation = evaluations(known.store)[0]
    chosen = utterances(known.store, evaluation, "accent=scot", (("noise", ("babble",)),), "errors", 0, 9).rows[1]
    page = look(
        "slices", model=known.model[:12], slice="accent=scot", only="noise=babble", utterance=str(chosen.sample_id)
    )
    seen = plain(page)
    assert "Behind it: accent=scot, only noise = babble" in seen
    assert "Computed now from the predictions on record" in seen
    assert "Of 12 words by 3 speakers, 3 were substituted, 3 missed and 0 made up" in seen
    words = known.store.vault.transcripts([chosen.sample_id])[chosen.sample_id].split()
    assert f"substitution: said {words[0]}, heard fish" in html(page)
    assert f"deletion: {words[-1]} was missed" in html(page)
    assert (address(page, "slice"), address(page, "only")) == ("accent=scot", "noise=babble")
    assert len(page.get("audio")) == 1


def test_the_address_says_what_is_chosen(look: Look, known: Known) -> None:
    page = look("slices")
    assert address(page, "model") == known.model[:12]
    assert address(page, "set") == known.test.digest[:12]
    page.selectbox(key="choice-measure").set_value("loss").run()
    assert address(page, "measure") == "loss"
    assert "nats per word" in plain(page)


def test_a_link_to_what_is_not_there_falls_back_with_a_word(look: Look, known: Known) -> None:
    page = look("slices", model="ffffffffffff", slice="accent=martian", utterance="x", page="77")
    assert "“ffffffffffff”, which is not on record" in page.info[0].value
    assert address(page, "model") == known.model[:12]
    assert "Behind it: all utterances" in plain(page)


def test_filters_that_nothing_meets_say_so(look: Look) -> None:
    page = look("slices", only="noise=babble|accent=nowhere")
    assert "Only noise" not in plain(page)
    assert address(page, "only") == "noise=babble"


def test_models_name_what_they_were_trained_without(look: Look) -> None:
    options = look("slices").selectbox(key="choice-model").options
    assert len(options) == 2
    assert "without accent=scot" in options[1]


# -- influence ---------------------------------------------------------------------------------------------------------


def test_every_measured_cell_carries_its_interval(look: Look) -> None:
    page = html(look("influence"))
    cells = re.findall(r"<button[^>]*em-broad[^>]*>(.*?)</button>", page)
    assert len(cells) == 20
    for cell in cells:
        assert re.search(r"<b>[▲▼≈?] [+−]?[\d.]+</b><span>[+−]?[\d.]+ to [+−]?[\d.]+</span>", cell), cell


def test_every_predicted_figure_carries_its_fidelity(look: Look) -> None:
    page = look("influence", cell="accent=scot|accent=scot")
    predicted = re.findall(r'aria-label="(Left out[^"]*predicted[^"]*)"', html(page))
    assert len(predicted) == 20
    assert all("fidelity: Spearman" in label for label in predicted)
    panel = re.search(r"em-panelnote\">([^<]*fidelity[^<]*)<", html(page))
    assert panel is not None
    samples = re.findall(r'em-sampleline[^>]*><b title="([^"]*)"', html(page))
    assert samples
    assert all("fidelity: Spearman" in title for title in samples)


def test_a_cell_tells_effect_control_and_verdict(look: Look) -> None:
    seen = plain(look("influence", cell="accent=scot|accent=scot"))
    assert "raises the word error rate by +25.0 points (95 % interval +18.0 to +32.0)" in seen
    assert "leaving out as many random samples, by +0.4 points (95 % interval −1.0 to +1.8)" in seen
    assert "▲ helps" in seen


def test_the_samples_behind_a_cell_can_be_heard(look: Look, known: Known) -> None:
    page = look("influence", cell="accent=scot|accent=scot")
    ids = members(known.store, known.slices["train:accent=scot"].set_digest).to_pylist()
    values = {i: known.values[i, "accent=scot"] for i in ids}
    first = max(values, key=values.__getitem__)
    said = known.store.vault.transcripts([first])[first]
    helpful = [v for v in values.values() if v > 0]
    assert f"Most helpful first ({len(helpful)} sample" in plain(page)
    assert plain(page).split("Most helpful first")[1].index(said) < 200
    assert len(page.get("audio")) == min(4, len(helpful)) + min(4, len(ids) - len(helpful))


def test_lineage_of_a_sample_leads_to_its_recordings(look: Look, known: Known) -> None:
    mixed = known.store.sql("SELECT child_id FROM edges ORDER BY child_id LIMIT 1").to_pylist()[0]["child_id"]
    page = look("influence", sample=str(mixed))
    seen = plain(page)
    assert re.search(r"Derived speech .* made by noise \(snr_db 6\) of Recorded speech .* Recorded noise", seen)
    assert "CC-BY-4.0" in seen
    assert "Consumed" in seen
    assert "There is no sample" in plain(look("influence", sample=str(uuid.UUID(int=1))))
    assert address(look("influence", sample="nonsense"), "sample") is None


def test_beyond_a_random_removal(look: Look) -> None:
    page = look("influence", measured="difference")
    assert "beyond a random removal" in plain(page)
    assert "▲ +24.6" in plain(page)


def test_no_influence_without_fidelity(own: Store, look: Look) -> None:
    store = own
    model = stores.trained(store, "tiny")
    stores.evaluated(store, model)
    one = ("accent=scot",)
    _, frozen = stores.audited(store, one, stores.STRENGTH)
    assert "earmark attribute" in html(look("influence", store))
    stores.attributed(store, model, one, stores.STRENGTH, frozen)
    seen = look("influence", store)
    page = html(seen)
    assert "too few measured cells" in page
    assert "What was left out (6 samples, in no order)" in plain(seen)
    assert len(seen.get("audio")) == 6
    assert "em-narrow" not in page
    assert "em-sampleline" not in page


def test_an_effect_without_interval_is_a_dash(tmp_path: Path, look: Look) -> None:
    store = stores.empty(tmp_path / "store")
    with store.run("ablate", job="one seed") as run:
        row = {
            "audit": "f" * 64, "train_slice": "accent=scot", "train_set": "1" * 64, "eval_slice": "all",
            "eval_set": "2" * 64, "metric": "wer", "estimate": 0.5, "verdict": "not identifiable", "reason": "one seed",
        }  # fmt: skip
        run.append("effects", [row])
    page = look("influence", store)
    assert "em-none" in html(page)
    assert "50.0" not in plain(page)


# -- hostile data ------------------------------------------------------------------------------------------------------


def test_hostile_words_are_shown_as_words(own: Store, look: Look) -> None:
    store = own
    model = stores.trained(store, "<img src=x onerror=alert(1)>")
    stores.evaluated(store, model)
    for view in ("overview", "slices"):
        assert "<img" not in html(look(view, store))
        assert "&lt;img" in html(look(view, store)) or view == "slices"
