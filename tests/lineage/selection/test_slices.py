from __future__ import annotations

import pytest

from lineage.errors import EarmarkError, UnknownName
from lineage.selection.sets import SampleSet, create_set, members, resolve_set
from lineage.selection.slices import EmptySlice, Slice, each_value, freeze, parse_slices, select
from lineage.store import Store
from tests.influence.conftest import make_store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return make_store(tmp_path_factory.mktemp("slices") / "store")


@pytest.fixture(scope="module")
def population(store: Store) -> SampleSet:
    return resolve_set(store, "train")


def chosen(store: Store, text: str, population: SampleSet) -> set[str]:
    ids = select(store, Slice.parse(text), population.digest)
    rows = store.read("samples", ["sample_id", "accent", "noise", "duration_s"])
    by_id = {r["sample_id"]: r for r in rows.to_pylist()}
    return {f"{by_id[i]['accent']}/{by_id[i]['noise']}" for i in ids.to_pylist()}


def test_short_and_long_forms_mean_the_same(store: Store, population: SampleSet) -> None:
    short = select(store, Slice.parse("accent=north"), population.digest)
    assert short.equals(select(store, Slice.parse("accent = 'north'"), population.digest))
    assert len(short) == 12
    assert chosen(store, "accent=north & noise=hum", population) == {"north/hum"}
    assert chosen(store, "length(noise)::VARCHAR = '3'", population) == {"north/hum", "south/hum", "west/hum"}
    assert chosen(store, "accent != 'north' -- a remark", population) == {
        "south/clean", "south/hum", "west/clean", "west/hum"
    }  # fmt: skip


def test_names(store: Store, population: SampleSet) -> None:
    assert Slice.parse("accent=l2-es").name == "accent=l2-es"
    assert Slice.parse(" accent = north &noise=hum").name == "accent=north & noise=hum"
    assert Slice.parse("long: duration_s > 0.4") == Slice("long", "duration_s > 0.4")
    assert Slice.parse("duration_s  >\n 0.4").name == "duration_s > 0.4"
    assert Slice.parse("duration_s::INT > 0").name == "duration_s::INT > 0"
    assert [s.name for s in parse_slices(store, ["accent=*", "all"], population.digest)] == [
        "accent=north", "accent=south", "accent=west", "all"
    ]  # fmt: skip


def test_values_with_odd_characters_are_only_ever_values(store: Store, population: SampleSet) -> None:
    for text in ("accent=o'brien", "accent=x; DROP TABLE samples", 'accent=x" OR 1=1'):
        with pytest.raises(EarmarkError):
            select(store, Slice.parse(text), population.digest)


def test_slices_lie_in_their_population(store: Store) -> None:
    test = resolve_set(store, "test")
    ids = set(select(store, Slice.parse("accent=north"), test.digest).to_pylist())
    assert ids < set(members(store, test.digest).to_pylist())


def test_values_partition_the_population(store: Store, population: SampleSet) -> None:
    parts = [select(store, s, population.digest).to_pylist() for s in each_value(store, "accent", population.digest)]
    assert sorted(i for p in parts for i in p) == members(store, population.digest).to_pylist()


def test_freezing_puts_set_and_slice_on_record(store: Store, population: SampleSet) -> None:
    with store.run("plan") as run:
        frozen = freeze(run, Slice.parse("accent=south"), population)
    found = resolve_set(store, frozen.set_digest)
    assert (found.kind, found.size, found.population) == ("slice", 12, population.digest)
    row = store.read("slices", where="set_digest = ?", parameters=[frozen.set_digest]).to_pylist()[0]
    assert (row["slice"], row["origin"]) == ("accent=south", "attribute")
    assert members(store, frozen.set_digest).equals(select(store, Slice.parse("accent=south"), population.digest))


@pytest.mark.parametrize(
    "text",
    [
        "accent = 'a'; DELETE FROM samples",
        "accent = 'a' ORDER BY 1",
        "accent = 'a' LIMIT 1",
        "accent = 'a') OR (1 = 1",
        "accent = 'a' UNION SELECT 1",
        "sample_id IN (SELECT sample_id FROM members)",
        "EXISTS (SELECT 1 FROM read_text('/etc/passwd'))",
        "row_number() OVER () = 1",
        "count(*) > 1",
        "accent = $1",
        "COLUMNS(*) = 'a'",
        "random() < 0.5",
        "now() > TIMESTAMP '2020-01-01'",
        "uuid()::VARCHAR > 'a'",
        "duration_s = 'long'",
        "accent = ",
        "list_transform([1], x -> x)[1] = 1",
    ],
)
def test_anything_but_one_lasting_condition_is_refused(store: Store, population: SampleSet, text: str) -> None:
    with pytest.raises(EarmarkError) as error:
        select(store, Slice.parse(text), population.digest)
    assert "\n" not in str(error.value)


def test_unknown_columns_and_empty_slices_say_what_there_is(store: Store, population: SampleSet) -> None:
    with pytest.raises(UnknownName, match="did you mean 'accent'"):
        select(store, Slice.parse("acent=north"), population.digest)
    with pytest.raises(EmptySlice, match="north, south, west"):
        select(store, Slice.parse("accent=nrth"), population.digest)
    with pytest.raises(EmptySlice, match="never holds"):
        select(store, Slice.parse("false"), population.digest)
    with pytest.raises(UnknownName):
        each_value(store, "acent", population.digest)
    with pytest.raises(EarmarkError, match="empty slice"):
        Slice.parse("  ")


def test_two_slices_of_one_name_are_refused(store: Store, population: SampleSet) -> None:
    with pytest.raises(EarmarkError, match="two slices"):
        parse_slices(store, ["accent=*", "accent=north"], population.digest)


def test_a_set_on_record_is_a_slice_of_what_of_it_is_there(store: Store, population: SampleSet) -> None:
    with store.run("plan") as run:
        frozen = freeze(run, Slice.parse("accent=north"), population)
        create_set(run, members(store, resolve_set(store, "test").digest), name="elsewhere")
    one, two = parse_slices(store, ["set:train[accent=north]", "mine: set:train[accent=north]"], population.digest)
    assert (one.name, two.name) == ("train[accent=north]", "mine")
    assert select(store, one, population.digest).equals(members(store, frozen.set_digest))
    half = parse_slices(store, ["set:train"], frozen.set_digest)[0]
    assert select(store, half, frozen.set_digest).equals(members(store, frozen.set_digest))
    with pytest.raises(EmptySlice, match="another set"):
        select(store, parse_slices(store, ["set:elsewhere"], population.digest)[0], population.digest)
    with pytest.raises(UnknownName):
        parse_slices(store, ["set:nowhere"], population.digest)
