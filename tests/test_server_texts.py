"""Long texts and tags: what goes to the model, and what stays as it was."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from live import Live, live, shelf_of
from pairloom.server import segments
from pairloom.server.markup import HTML, XML, Dialect, Marked
from pairloom.server.segments import cut


@pytest.fixture(scope="module")
def server(tiny_model_dir: Path) -> Iterator[Live]:
    with live(shelf_of(tiny_model_dir)) as one:
        yield one


def short(text: str) -> bool:
    """A model that reads twenty characters."""
    return len(text) <= 20


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("One. Two! Three?", ["One.", "Two!", "Three?"]),
        ("  One.\n\n Two.  ", ["One.", "Two."]),
        ("Dr. No came. He left.", ["Dr. No came.", "He left."]),
        ("Am 3. Mai war es z. B. kalt. Heute nicht.", ["Am 3. Mai war es z. B. kalt.", "Heute nicht."]),
        ("你好。再见！", ["你好。", "再见！"]),
        ("안녕하세요. 반갑습니다.", ["안녕하세요.", "반갑습니다."]),
        ("“Stop.” She stopped.", ["“Stop.”", "She stopped."]),
        ("version 1.2.3 of it", ["version 1.2.3 of it"]),
        ("", []),
        (" \n ", []),
    ],
)
def test_a_text_is_cut_into_sentences(text: str, pieces: list[str]) -> None:
    assert cut(text, lambda _: True).pieces == pieces


def test_what_is_too_long_is_cut_at_spaces() -> None:
    one = cut("a rather long sentence without any end " + "x" * 50, short)
    assert all(short(piece) for piece in one.pieces)
    assert all(len(piece) > 4 for piece in one.pieces)


@given(st.text(alphabet='ab.!?。 \n\r\t\u2028"(', max_size=200), st.booleans())
def test_nothing_of_a_text_is_lost(text: str, sentences: bool) -> None:
    one = cut(text, short, sentences=sentences)
    assert one.joined(one.pieces) == text
    assert all(piece == piece.strip() != "" and short(piece) for piece in one.pieces)


@pytest.mark.parametrize(
    ("document", "texts"),
    [
        ("<p>One <b>two</b></p>", ["One ", "two"]),
        ("<script>var a = '<b>no</b>';</script>yes", ["yes"]),
        ("<pre>no <b>no</b></pre>yes<code>no</code>", ["yes"]),
        ('<div translate="no">no <div>no</div> no</div>yes', ["yes"]),
        ("<span class='a notranslate'>no</span>yes<br>yes too", ["yes", "yes too"]),
        ("<!-- no --><!DOCTYPE html><?php no ?>yes", ["yes"]),
        ("a &lt; b &amp; c &eacute;", ["a < b & c é"]),
        ("1 < 2 and 3 > 2", ["1 < 2 and 3 > 2"]),
        ("x <é and more", ["x <é and more"]),
        ('<a title="a > b">yes</a>', ["yes"]),
        ("yes <a href='never closed", ["yes "]),
        ("yes<!-- never closed", ["yes"]),
        ("<![CDATA[no]]>yes", ["yes"]),
    ],
)
def test_texts_between_tags(document: str, texts: list[str]) -> None:
    marked = Marked(document)
    assert [marked.parts[place] for place in marked.texts] == texts
    upper = marked.joined({place: marked.parts[place].upper() for place in marked.texts})
    assert len(upper) >= len(document) - document.count(";") * 8
    assert marked.joined({}).replace("&", "") == "".join(marked.parts).replace("&", "")


@given(st.lists(st.sampled_from(["<p>", "</p>", "<b ", "'", '"', ">", "<!--", "-->", "text", " ", "<script>", "</"])))
def test_tags_stay_as_they_are(parts: list[str]) -> None:
    document = "".join(parts)
    marked = Marked(document)
    assert "".join(marked.parts) == document
    assert not any(marked.parts[place].startswith(("<p>", "</p>", "<!--")) for place in marked.texts)


@pytest.mark.parametrize(
    ("document", "texts"),
    [
        ("<doc><code>yes</code><style>yes too</style></doc>", ["yes", "yes too"]),
        ("<link>yes</link> and <script>a<b/>c</script>", ["yes", " and ", "a", "c"]),
        ('<?xml version="1.0"?><!-- no --><a:b c="no"/><_x>yes</_x><été>yes</été>', ["yes", "yes"]),
        ('<link translate="no">no</link><x translate="no">no<y/></x>yes', ["yes"]),
        ("a &lt; b &amp;&#32;c", ["a < b & c"]),
        ("<![CDATA[no]]>yes", ["yes"]),
    ],
)
def test_in_xml_no_element_is_special_by_its_name(document: str, texts: list[str]) -> None:
    marked = Marked(document, XML)
    assert [marked.parts[place] for place in marked.texts] == texts
    same = {place: marked.parts[place] for place in marked.texts}
    assert marked.joined(same) == document.replace("&#32;", " ")


@pytest.mark.parametrize("dialect", [HTML, XML])
def test_a_hostile_document_takes_no_longer_than_another(dialect: Dialect) -> None:
    began = time.monotonic()
    for bad in ("<!--", "<a '", "<", "<b <b ", "<script>", "<!["):
        Marked(bad * 5000, dialect)
    for bad in ("<a" + "x" * 20_000, "<a " + "b" * 20_000, "<a" + " b='c'" * 4000 + " '"):
        Marked(bad, dialect)
    assert time.monotonic() - began < 2


@pytest.mark.parametrize("text", [" " * 20_000, "a" + "\t" * 20_000 + "b", "A. " * 7000, "z.B. " * 4000, "1." * 10_000])
def test_a_hostile_text_is_cut_in_no_time(text: str) -> None:
    began = time.monotonic()
    cut(text, lambda piece: True)
    assert time.monotonic() - began < 1


@given(st.text(alphabet=" \t\n\r\x1c\u2028aB.", max_size=30))
def test_lines_are_parted_by_all_white_space_around_their_end(text: str) -> None:
    slow = re.compile(r"(\s*[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]\s*)")
    assert segments._lines(text) == slow.split(text)


@given(st.text(alphabet="aB.13 (Dr", max_size=200))
def test_an_abbreviation_is_found_wherever_it_stands(text: str) -> None:
    assume(not re.search(r"[^\s(]{60}", text))
    for end in range(0, len(text), 7):
        whole = segments._ABBREVIATION.search(text[:end]) is not None
        assert segments._abbreviates(text, 0, end) == whole


def test_a_page_of_sentences_is_one_text(tiny_model_dir: Path) -> None:
    with live(shelf_of(tiny_model_dir), limits={"texts": 2}) as server:
        asked = {"q": "Abc da. " * 40, "source": "de", "target": "en"}
        answer = server.http.post("/translate", json=asked)
        assert answer.status_code == 200, answer.text
        assert server.http.post("/translate", json={**asked, "q": ["a", "b", "c"]}).status_code == 413


def test_html_keeps_its_tags(server: Live) -> None:
    document = '<p class="x">abc <b>dag</b>&nbsp;<!-- c --></p>'
    asked = {"q": document, "source": "de", "target": "en", "format": "html"}
    answer = server.http.post("/translate", json=asked).json()["translatedText"]
    plain = {
        word: server.http.post("/translate", json={"q": word, "source": "de", "target": "en"}).json()["translatedText"]
        for word in ("abc", "dag")
    }
    # The space between is part of a text, and comes back as the character that it is.
    assert answer == f'<p class="x">{plain["abc"]} <b>{plain["dag"]}</b>&nbsp;<!-- c --></p>'


def test_xml_of_deepl_keeps_its_tags(server: Live) -> None:
    def said(text: str, **more: object) -> str:
        asked = {"text": [text], "source_lang": "DE", "target_lang": "EN", **more}
        answer = server.http.post("/v2/translate", json=asked)
        assert answer.status_code == 200, answer.text
        text = answer.json()["translations"][0]["text"]
        assert isinstance(text, str)
        return text

    abc, dag = said("abc"), said("dag")
    document = '<?xml version="1.0"?><doc a="&lt;"><code>abc</code> <x/><_y translate="no">abc</_y>dag&#10;</doc>'
    kept = '<?xml version="1.0"?><doc a="&lt;"><code>{}</code> <x/><_y translate="no">abc</_y>{}\n</doc>'
    assert said(document, tag_handling="xml") == kept.format(abc, dag)
    assert "<code>abc</code>" in said(document, tag_handling="html")


@pytest.mark.parametrize(
    "more",
    [{"preserve_formatting": True}, {"model_type": "prefer_quality_optimized"}, {"formality": "prefer_more"}],
)
def test_what_has_no_effect_in_deepl_changes_nothing(server: Live, more: dict[str, object]) -> None:
    """As docs/serving says; what would have to change something is refused."""
    asked = {"text": ["abc dag."], "source_lang": "DE", "target_lang": "EN"}
    answers = [server.http.post("/v2/translate", json={**asked, **some}).json() for some in ({}, more)]
    assert answers[0] == answers[1]
    for name, value in (("formality", "more"), ("ignore_tags", ["x"]), ("outline_detection", False)):
        answer = server.http.post("/v2/translate", json={**asked, name: value})
        assert (answer.status_code, name in answer.text) == (400, True)


def test_texts_of_several_lines_keep_them(server: Live) -> None:
    asked = {"q": "abc\n\n  dag. fe", "source": "de", "target": "en"}
    answer = server.http.post("/translate", json=asked).json()["translatedText"]
    assert answer.count("\n\n  ") == 1


def test_queries_and_forms(server: Live) -> None:
    fields = {"q": "abc", "source": "de", "target": "en"}
    expected = server.http.post("/translate", json=fields).json()
    assert server.http.post("/translate", params=fields).json() == expected
    assert server.http.post("/translate", data=fields).json() == expected
    assert server.http.post("/translate", files={name: (None, value) for name, value in fields.items()}).json() == (
        expected
    )
    many = server.http.post("/translate", data={**fields, "q": ["abc", "dag"]}).json()["translatedText"]
    assert many[0] == expected["translatedText"]
    assert len(many) == 2


@pytest.mark.parametrize(
    ("fields", "status", "words"),
    [
        ({"q": "a", "source": "de"}, 400, "target: "),
        ({"q": "a", "source": "de", "target": "xx"}, 400, "de to xx is not supported"),
        ({"q": "a", "source": "auto", "target": "xx"}, 400, "no model here translates into xx"),
        ({"q": "a", "source": "de", "target": "en", "format": "pdf"}, 400, "format: "),
        ({"q": "a", "source": "de", "target": "en", "alternatives": 16}, 400, "at most 15"),
        ({"q": [], "source": "de", "target": "en"}, 400, "q"),
        ({"q": ["a"] * 257, "source": "de", "target": "en"}, 413, "257 texts"),
    ],
)
def test_errors_in_the_words_of_libretranslate(
    server: Live, fields: dict[str, object], status: int, words: str
) -> None:
    answer = server.http.post("/translate", json=fields)
    assert answer.status_code == status
    assert words in answer.json()["error"]


def test_without_languages_nothing_is_translated(tiny_model_dir: Path) -> None:
    with live(shelf_of(tiny_model_dir, languages=())) as server:
        assert server.http.get("/languages").json() == []
        answer = server.http.post("/translate", json={"q": "a", "source": "de", "target": "en"})
        assert answer.status_code == 400
        assert "--languages de:en" in answer.json()["error"]
        assert server.http.post("/detect", json={"q": "a"}).status_code == 400
