"""Numbers as people read them."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from influence.report import formats


def plain(text: str) -> str:
    return text.replace("\u00a0", " ")


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.234, "23.4 %"), (0, "0.0 %"), (1.5, "150.0 %"), (None, "–"), (math.nan, "–"), (-0.1, "−10.0 %")],
)
def test_percent(value: float | None, text: str) -> None:
    assert plain(formats.percent(value)) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.061, "+6.1"), (-0.061, "−6.1"), (0.0004, "0.0"), (-0.0004, "0.0"), (None, "–")]
)
def test_points_carry_their_sign_unless_they_round_to_zero(value: float | None, text: str) -> None:
    assert formats.points(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.01234, "+0.0123"), (-12.34, "−12.3"), (1234.5, "+1,234"), (0.0, "0.0"), (1e-7, "+0.000000100")],
)
def test_significant(value: float, text: str) -> None:
    assert formats.significant(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(12.34, "12.3 s"), (90, "1.5 min"), (7199, "120.0 min"), (7200, "2.0 h"), (None, "–")]
)
def test_hours(seconds: float | None, text: str) -> None:
    assert plain(formats.hours(seconds)) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(4.21, "4.2 s"), (42, "42 s"), (185, "3 min 05 s"), (8040, "2 h 14 min")]
)
def test_elapsed(seconds: float, text: str) -> None:
    assert plain(formats.elapsed(seconds)) == text


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (6.51e7, "65.1 MB"), (None, "–")]
)
def test_size(count: float | None, text: str) -> None:
    assert plain(formats.size(count)) == text


def test_counts_and_times() -> None:
    assert plain(formats.count(1, "speaker")) == "1 speaker"
    assert plain(formats.count(1134, "utterance")) == "1,134 utterances"
    assert plain(formats.moment(datetime(2026, 3, 4, 5, 6, tzinfo=UTC))) == "2026-03-04 05:06 UTC"


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_no_number_breaks_a_format(value: float) -> None:
    for shown in (formats.percent, formats.points, formats.significant, formats.hours, formats.elapsed, formats.size):
        text = shown(value)
        assert text
        assert "nan" not in text
        assert "-" not in text  # the minus sign is a real one


@pytest.mark.parametrize(("reach", "end"), [(35.6, 40.0), (100, 100.0), (0.07, 0.08), (0, 1.0), (11, 12.5)])
def test_axes_end_on_a_tick(reach: float, end: float) -> None:
    first, last, step = formats.axis(0, reach)
    assert (first, last) == (0, pytest.approx(end))
    assert last >= reach
    assert last / step == pytest.approx(round(last / step))


@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6))
def test_an_axis_holds_zero_and_what_is_on_it(low: float, high: float) -> None:
    low, high = sorted((low, high))
    first, last, step = formats.axis(low, high)
    assert first <= 0 <= last
    assert first <= low + 1e-6 * step
    assert last >= high - 1e-6 * step
    assert all(abs(end / step - round(end / step)) < 1e-6 for end in (first, last))
