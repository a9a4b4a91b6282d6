"""The files of the page, as far as they can be judged without a browser."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[1] / "src/pairloom/server/page"
FILES = sorted(path for path in PAGE.iterdir() if path.suffix in (".html", ".js", ".css", ".svg"))


def test_both_languages_say_the_same_things() -> None:
    english, korean = (
        dict(re.findall(r'^ {2}(\w+):\s+"(.*)",$', (PAGE / f"words-{code}.js").read_text("utf-8"), re.MULTILINE))
        for code in ("en", "ko")
    )
    assert len(english) > 80
    assert english.keys() == korean.keys()
    for key, text in english.items():
        # Korean may do without a value that English names, never with one that nobody gives.
        assert set(re.findall(r"{\w+}", korean[key])) <= set(re.findall(r"{\w+}", text)), key
    used = "".join(path.read_text("utf-8") for path in PAGE.iterdir() if path.suffix in (".js", ".html"))
    asked = {*re.findall(r'data-(?:t|label)="(\w+)"', used), *re.findall(r'\b(?:t|pieces)\("(\w+)"', used)}
    assert asked <= english.keys()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_nothing_comes_from_elsewhere_or_stands_inline(path: Path) -> None:
    """The content policy would refuse it; here it is said by file."""
    text = path.read_text("utf-8").replace("http://www.w3.org/2000/svg", "")  # a name, not an address
    assert re.findall(r"(?:https?:)?//[\w-]+\.\w+", text) == []
    assert re.findall(r"innerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function", text) == []
    if path.suffix == ".html":
        assert re.findall(r"\sstyle=|\son\w+=|<style|<script(?![^>]*\ssrc=)", text) == []


def test_whatever_the_files_name_is_there() -> None:
    texts = "".join(path.read_text("utf-8") for path in FILES)
    assert {*re.findall(r'"/page/([\w.-]+)"', texts)} <= {path.name for path in FILES}
    html = (PAGE / "index.html").read_text("utf-8")
    identities = re.findall(r'\sid="([\w-]+)"', html)
    assert len(identities) == len(set(identities))
    used = re.findall(r'byId\("([\w-]+)"\)', texts)
    named = re.findall(r'(?:\sfor|aria-controls|aria-labelledby)="([\w-]+)"', html)
    assert {*used, *named} <= set(identities)
