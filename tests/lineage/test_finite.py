"""What is not finite is null, however deep it lies."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from lineage.finite import finite

VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda of: st.lists(of) | st.tuples(of, of) | st.dictionaries(st.text(), of),
)


@given(VALUES)
def test_what_is_finite_is_json_and_stays_as_it_is(value: Any) -> None:
    plain = finite(value)
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain == finite(plain)


def test_what_is_not_finite_is_null() -> None:
    assert finite({"a": (float("nan"), [float("-inf"), 1.5])}) == {"a": [None, [None, 1.5]]}
