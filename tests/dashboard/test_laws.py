"""What the dashboard's sources promise: SQL in one place, personal data through one door, pages by their file alone."""

from __future__ import annotations

import re

from dashboard.views import views


def test_pages_and_pieces_hold_no_sql(sources: dict[str, str]) -> None:
    statement = re.compile(r"\bSELECT\b.*\bFROM\b|\.sql\(|\.read\(\"", re.DOTALL)
    guilty = [path for path, text in sources.items() if not path.startswith("queries/") and statement.search(text)]
    assert guilty == []


def test_the_vault_has_one_door(sources: dict[str, str]) -> None:
    reading = re.compile(r"store\.vault\b|\.vault\.|lineage\.vault\b")
    assert [path for path, text in sources.items() if reading.search(text)] == ["vault_access.py"]


def test_queries_know_no_streamlit(sources: dict[str, str]) -> None:
    quiet = [path for path in sources if path.startswith(("queries/", "pieces/"))]
    assert len(quiet) > 10
    assert [path for path in quiet if "streamlit" in sources[path]] == []


def test_nothing_personal_is_cached(sources: dict[str, str]) -> None:
    assert "cache" not in re.sub(r'""".*?"""', "", sources["vault_access.py"], flags=re.DOTALL)
    assert [p for p, text in sources.items() if "st.cache" in text] == ["record.py"]


def test_every_page_is_found_by_its_file(sources: dict[str, str]) -> None:
    files = {p.removeprefix("views/").removesuffix(".py") for p in sources if p.startswith("views/")} - {"__init__"}
    found = views()
    assert {v.show.__module__.rpartition(".")[2] for v in found} == files
    assert [v.title for v in found] == ["Overview", "Slices", "Influence"]
    assert len({v.path for v in found}) == len(found)
