from __future__ import annotations

import uuid

import pyarrow as pa
import pytest

from lineage.errors import EarmarkError
from lineage.ids import id_array
from training.evaluation.slices import as_ids, attribute_of, digests, masks

IDS = [uuid.UUID(int=i) for i in range(8)]
ATTRIBUTES = [[("accent", "north" if i < 4 else "south"), ("take", str(i))] for i in range(7)] + [None]
TABLE = pa.table({"sample_id": id_array(IDS), "attributes": pa.array(ATTRIBUTES, pa.map_(pa.string(), pa.string()))})


def test_attributes_with_a_few_values_cut_slices() -> None:
    found = masks(TABLE, None)
    assert list(found) == ["all", "accent=north", "accent=south"]  # 'take' tells clips apart
    assert found["accent=south"].tolist() == [False] * 4 + [True] * 3 + [False]  # the last one has no accent


def test_chosen_slices_are_the_members_that_are_there() -> None:
    chosen = as_ids({"some": [IDS[2], uuid.UUID(int=99)]})
    found = masks(TABLE, chosen)
    assert found["some"].tolist() == [i == 2 for i in range(8)]
    assert digests(None) is None
    assert digests(as_ids({"x": IDS})) == digests(as_ids({"x": IDS[::-1]}))
    with pytest.raises(EarmarkError, match="slice 'none' has no utterance"):
        masks(TABLE, as_ids({"none": [uuid.UUID(int=99)]}))


def test_slices_of_one_attribute_know_it() -> None:
    assert attribute_of("accent=scot") == "accent"
    assert attribute_of("accent=scot & noise=hum") is None
    assert attribute_of("duration_s > 4") is None
    assert attribute_of("all") is None
