"""What is printed is what is on record."""

from __future__ import annotations

import pytest

from earmark.cli.output import print_rows, say, strong


def test_square_brackets_and_colons_are_printed_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    print_rows([{"model": "demo[all data, seed 1]", "text": "[laughter] yes [/b]", "slice": ":key: x"}])
    say("failed: demo[seed 1]: [/tmp/x] is not there")
    say(strong("set [odd]", " of 3"))
    told = capsys.readouterr().out
    for part in (
        "demo[all data, seed 1]",
        "[laughter] yes [/b]",
        ":key: x",
        "demo[seed 1]: [/tmp/x]",
        "set [odd] of 3",
    ):
        assert part in told
