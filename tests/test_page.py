"""The page in a headless browser: typing, streaming, hovering, scrubbing, Korean, an overloaded server, none at all.

Needs Chromium (`apt-get install chromium`, or PAIRLOOM_CHROMIUM with its path) and the Python package playwright.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Semaphore
from typing import Any

import pytest

from browser import find_chromium, serving
from conftest import TINY, reversed_words

pytest.importorskip("uvicorn", reason="the server is not installed: pip install '.[serve]'")
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install '.[test]'")
CHROMIUM = find_chromium()
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="there is no Chromium: apt-get install chromium, or PAIRLOOM_CHROMIUM=its path"
)

HANGUL = ("가나", "나다라", "다라마", "라마바사", "마바", "바사아", "사아자", "아자차카", "자차", "차카타")


class Site:
    """A server with its models, and ways to make it behave badly."""

    def __init__(self, app: Any, address: str) -> None:
        self.app, self.address = app, address
        self.pieces: Semaphore | None = None  # a permission for each piece of a stream; None: none is needed
        self.full = False  # the queue takes nothing in


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Four models: words turned round (Latin and Hangul), a Transformer with heads, one without attention, one that
    converses."""
    import pairloom
    from pairloom.server.app import create_app
    from pairloom.server.settings import ServerSettings
    from pairloom.server.shelf import open_shelf

    place = tmp_path_factory.mktemp("page")
    words = [*reversed_words(), *((word, word[::-1]) for word in HANGUL for _ in range(12))]
    (place / "pairs.tsv").write_text("".join(f"{source}\t{target}\n" for source, target in words), "utf-8")
    (place / "few.tsv").write_text("".join(f"{source}\t{target}\n" for source, target in reversed_words(120)), "utf-8")
    quick = {**TINY, "steps": 3}
    heads = {"size": 16, "feed_forward": 16, "heads": 2, "encoder_layers": 1, "decoder_layers": 2}
    pairloom.train(place / "pairs.tsv", out=place / "turned", **{**TINY, "steps": 200})
    pairloom.train(place / "few.tsv", out=place / "heads", kind="transformer", **{**quick, "model": heads})
    fixed = {"hidden": 16, "embedding": 16, "layers": 1}
    pairloom.train(place / "few.tsv", out=place / "fixed", kind="rnn", **{**quick, "model": fixed})
    pairloom.train(place / "few.tsv", out=place / "talks", task="chat", **quick)
    shelf = open_shelf([place / name for name in ("turned", "heads", "fixed", "talks")], [])
    app = create_app(shelf, ServerSettings(workers=2))
    with serving(app) as address:
        yield Site(app, address)


@pytest.fixture
def slow_or_full(site: Site, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """The same server, whose streams wait and whose queue is full as the test says."""
    from pairloom.server.queue import WorkQueue
    from pairloom.workflow.model import Model

    stream, offer = Model.stream, WorkQueue.offer

    def slowly(self: Model, text: str, **settings: Any) -> Iterator[str]:
        for piece in stream(self, text, **settings):
            if site.pieces is not None:
                site.pieces.acquire(timeout=20)
            yield piece

    monkeypatch.setattr(Model, "stream", slowly)
    monkeypatch.setattr(WorkQueue, "offer", lambda self, jobs: not site.full and offer(self, jobs))
    yield site
    if site.pieces is not None:
        site.pieces.release(100)  # whoever still waits
    site.pieces, site.full = None, False


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """One Chromium for all tests."""
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


Visit = Callable[..., Any]


@pytest.fixture
def visit(site: Site, browser: Any) -> Iterator[Visit]:
    """Opens the page; at the end nothing may have gone wrong in it, and nothing have been asked of another host."""
    contexts, wrong = [], []

    def open_page(before: Callable[[Any], None] | None = None, **options: Any) -> Any:
        context = browser.new_context(**{"locale": "en-US", "reduced_motion": "reduce", **options})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(8000)
        page.on("pageerror", lambda error: wrong.append(f"error: {error}"))
        page.on("console", lambda message: note(message.text) if message.type in ("error", "warning") else None)
        page.on("request", lambda r: None if r.url.startswith((site.address, "data:")) else wrong.append(r.url))
        if before is not None:
            before(page)
        page.goto(site.address)
        page.wait_for_selector("body[data-form]")
        return page

    def note(text: str) -> None:
        if not re.search("503|ERR_INTERNET_DISCONNECTED|ERR_NETWORK", text):  # what a test has caused itself
            wrong.append(text)

    yield open_page
    for context in contexts:
        context.close()
    assert wrong == []


def ask(page: Any, text: str) -> None:
    """Types a text, generates, and waits until it can be looked into."""
    page.fill("#source", text)
    page.press("#source", "Enter")
    page.wait_for_selector("#inside:not([hidden])")
    page.wait_for_selector("body:not(.busy)")


def test_typing_and_the_answer(visit: Visit) -> None:
    page = visit()
    page.type("#source", "abcd")
    page.press("#source", "Enter")
    page.wait_for_selector("#inside:not([hidden])")
    assert page.inner_text("#answer") == "dcba"
    assert page.locator("#others li").count() >= 2  # a caption and what else was considered
    ask(page, "aceg")
    assert page.inner_text("#earlier-rows").split() == ["abcd", "dcba"]  # words have a compact form with a memory
    page.fill("#source", "   ")
    page.click("#go")
    assert page.inner_text("#status") == "Nothing to say to an empty text."


def test_the_answer_appears_while_it_is_written(slow_or_full: Site, visit: Visit) -> None:
    slow_or_full.pieces = Semaphore(0)
    page = visit()
    page.fill("#source", "abcde")
    page.click("#go")
    for so_far in ("e", "ed", "edc", "edcb"):
        slow_or_full.pieces.release()
        playwright.expect(page.locator("#answer")).to_have_text(so_far)
        assert page.is_hidden("#inside")
    slow_or_full.pieces.release(5)
    page.wait_for_selector("#inside:not([hidden])")
    assert page.inner_text("#answer") == "edcba"


def test_a_stopped_answer_keeps_what_was_written(slow_or_full: Site, visit: Visit) -> None:
    slow_or_full.pieces = Semaphore(2)
    page = visit()
    page.fill("#source", "abcde")
    page.click("#go")
    playwright.expect(page.locator("#answer")).to_have_text("ed")
    page.click("#stop")
    page.wait_for_selector("body:not(.busy)")
    assert page.inner_text("#answer") == "ed"
    assert page.inner_text("#status") == "Stopped."
    assert page.is_hidden("#inside")


def test_pointing_at_a_token_lights_up_its_mates(visit: Visit) -> None:
    page = visit()
    ask(page, "abcd")
    page.hover("#loom-target .token:nth-child(1)")  # `d`, the last letter of the source
    assert page.locator("#loom-target .token.chosen").inner_text() == "d"
    shares = shares_of(page, "source")
    assert max(shares, key=lambda letter: shares[letter]) == "d"
    assert 95 <= sum(shares.values()) <= 101
    assert "d looks at d" in page.inner_text("#detail")
    assert page.locator("#threads path").count() == len(shares)
    assert page.locator("#map tr.chosen th").inner_text() == "d"

    page.hover("#loom-source .token:nth-child(2)")  # and the other way round
    assert max(shares_of(page, "target").items(), key=lambda item: item[1])[0] == "b"
    assert "b is looked at by b" in page.inner_text("#detail")

    page.hover("#map tbody tr:nth-child(2) td:nth-child(3)")
    assert page.locator("#loom-target .token.chosen").inner_text() == "c"
    page.mouse.move(5, 5)
    assert page.locator(".token.lit").count() == 0


def shares_of(page: Any, side: str) -> dict[str, float]:
    """Letter → percent of the tokens that are lit."""
    lit = page.locator(f"#loom-{side} .token.lit").all()
    pairs = [(token.locator(".piece").inner_text(), token.locator(".share").inner_text()) for token in lit]
    return {letter: float(share.rstrip("%")) for letter, share in pairs}


def test_the_keyboard_is_enough(visit: Visit) -> None:
    page = visit()
    ask(page, "abcd")
    page.focus("#tab-looks")
    page.keyboard.press("ArrowRight")
    assert page.get_attribute("#tab-steps", "aria-selected") == "true"
    assert page.is_visible("#steps")
    page.keyboard.press("ArrowLeft")
    page.focus("#loom-target .token")
    page.keyboard.press("ArrowRight")
    assert page.locator("#loom-target .token.chosen").inner_text() == "c"
    page.keyboard.press("Enter")  # keeps it
    page.keyboard.press("ArrowUp")  # to the source token that it looks at most
    assert page.locator("#loom-source .token.chosen").inner_text() == "c"
    page.evaluate("document.activeElement.blur()")
    assert page.get_attribute("#loom-target .token.chosen", "aria-pressed") == "true"
    page.keyboard.press("Escape")
    assert page.locator(".token.chosen").count() == 0
    assert page.locator("#loom-target .token[tabindex='0']").count() == 1  # one stop of the tabulator a side


def test_scrubbing_replays_the_decoding(visit: Visit) -> None:
    page = visit()
    ask(page, "abcd")
    page.click("#tab-steps")
    assert page.inner_text("#where") == "Step 1 of 5: d"
    assert page.locator(".states tbody tr").count() == 5  # four letters and the end
    assert page.locator(".states tfoot .strip rect").count() == 32  # the context vector: all 2 x 16 units
    assert page.locator("table.next tr").count() == 10
    assert page.inner_text("table.next tr.taken th") == "d"
    before = page.get_attribute(".plane .context", "cx")
    page.focus("#scrub")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert page.inner_text("#where") == "Step 3 of 5: b"
    assert page.get_attribute("#scrub", "aria-valuetext") == "Step 3 of 5: b"
    assert page.inner_text("table.next tr.taken th") == "b"
    assert page.inner_text("table.next tr.taken .mark") == "chosen"
    assert page.inner_text(".word.now") == "b"
    assert page.get_attribute(".plane .context", "cx") != before
    page.click("#back")
    assert page.inner_text("#where") == "Step 2 of 5: c"
    page.keyboard.press("End")
    page.locator(".word").last.click()
    assert page.inner_text("#where") == "Step 5 of 5: end"
    assert page.is_disabled("#forward")


def test_teacher_forcing_beside_free_running(visit: Visit) -> None:
    page = visit()
    ask(page, "abcd")
    page.click("#tab-steps")
    page.check("#forcing")
    page.fill("#given", "dcgg")
    page.click("#compare")
    playwright.expect(page.locator(".run.forced .word").nth(3)).to_have_text("g")
    assert page.locator(".run.forced .word").all_inner_texts() == ["d", "c", "g", "g", "end"]
    assert "g" in page.locator(".run.forced .word.unlike").all_inner_texts()
    page.locator(".run.forced .word").nth(2).click()
    assert page.inner_text(".run.free table.next tr.taken th") == "b"
    assert page.locator(".run.forced table.next tr").first.inner_text().startswith("b")  # what it would have said
    page.uncheck("#forcing")
    assert page.locator(".run").count() == 1


def test_one_switch_shows_both_ways_through_the_text(visit: Visit) -> None:
    page = visit()
    ask(page, "abcd")
    status = page.inner_text("#status")
    page.click("#tab-steps")
    page.check("#forcing")
    page.wait_for_selector(".runs.two .run.forced")
    assert words_of(page, "forced") == words_of(page, "free") == ["d", "c", "b", "a", "end"]  # the model's own answer
    assert page.input_value("#given") == "dcba"
    page.wait_for_selector("body:not(.busy)")
    assert page.inner_text("#status") == status  # what was said of the answer stays
    page.fill("#given", "dcgg")
    page.press("#given", "Enter")
    playwright.expect(page.locator(".run.forced .word").nth(3)).to_have_text("g")

    ask(page, "aceg")  # another text: another answer
    assert words_of(page, "forced") == words_of(page, "free")
    assert words_of(page, "free")[-1] == "end"
    assert page.input_value("#given") == page.inner_text("#answer")
    page.fill("#given", "geca")
    page.select_option("#search", "1")
    ask(page, "aceg")  # the same text: the reader's answer to it stays
    assert page.input_value("#given") == "geca"
    assert words_of(page, "forced") == ["g", "e", "c", "a", "end"]
    page.fill("#given", " ")
    page.click("#compare")
    playwright.expect(page.locator("#given")).to_have_value(page.inner_text("#answer"))


def words_of(page: Any, run: str) -> list[str]:
    return list(page.locator(f".run.{run} .word").all_inner_texts())


def test_the_switch_waits_for_an_answer_under_way(slow_or_full: Site, visit: Visit) -> None:
    page = visit()
    ask(page, "abcd")
    page.click("#tab-steps")
    slow_or_full.pieces = Semaphore(1)
    page.fill("#source", "bcde")
    page.press("#source", "Enter")
    playwright.expect(page.locator("#answer")).to_have_text("e")
    page.check("#forcing")  # breaks nothing off, and mixes no two texts
    slow_or_full.pieces.release(10)
    page.wait_for_selector("body:not(.busy)")
    assert page.inner_text("#answer") == "edcb"
    assert words_of(page, "forced") == words_of(page, "free") == ["e", "d", "c", "b", "end"]


def test_the_switch_where_the_answer_is_empty(visit: Visit) -> None:
    """What says nothing cannot be sent as a target: its end is all there is to read."""

    def emptied(route: Any) -> None:
        found = route.fetch().json()
        for name in ("text", "tokens", "scores", "ranks", "alternatives", "attention"):
            found["free"][name] = "" if name == "text" else found["free"][name][-1:]
        route.fulfill(json=found)

    page = visit()
    page.route("**/explain", emptied)
    ask(page, "abcd")
    page.click("#tab-steps")
    page.check("#forcing")
    page.wait_for_selector(".runs.two .run.forced")
    assert words_of(page, "forced") == words_of(page, "free") == ["end"]


def test_the_beam_and_why_the_winner_won(visit: Visit) -> None:
    page = visit()
    page.select_option("#search", "10")
    ask(page, "abcd")
    page.click("#tab-beam")
    assert "dcba wins" in page.inner_text("#why")
    assert page.locator("#endings tbody tr").count() >= 5
    assert page.inner_text("#endings tr.winner td:nth-child(2)") == "dcba"
    alive = page.locator("#tree .node").count()
    page.check("#dropped")
    assert page.locator("#tree .node").count() > alive
    page.hover("#tree .node.winner >> nth=2")
    assert page.inner_text("#branch").startswith("Step 3: dcb.")
    assert page.locator("#tree .node.lit").count() == 3
    page.focus("#tree .node[tabindex='0']")
    page.keyboard.press("ArrowRight")
    assert page.inner_text("#branch").startswith("Step 2: dc.")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')").startswith("Step 2: dc.")

    page.select_option("#search", "sample")
    ask(page, "abcd")
    page.click("#tab-beam")
    assert page.locator("#tree svg").count() == 0
    assert "drawn at random" in page.inner_text("#beam-lead")


def test_layers_and_heads(visit: Visit) -> None:
    page = visit()
    page.select_option("#model", "heads")
    ask(page, "abc")
    assert page.locator("#layer option").count() == 3  # what the model goes by, and two layers
    own = page.inner_text("#map tbody")
    page.select_option("#layer", "0")
    page.select_option("#head", "1")
    assert page.inner_text("#map tbody") != own
    page.select_option("#layer", "")
    assert page.is_disabled("#head")
    assert page.inner_text("#map tbody") == own


@pytest.mark.parametrize(
    ("locale", "words"),
    [("en-US", "all layers and heads together are too many"), ("ko-KR", "모든 층과 헤드의 가중치를 다 보내기에는")],
)
def test_heads_that_are_too_many_to_be_sent(
    visit: Visit, monkeypatch: pytest.MonkeyPatch, locale: str, words: str
) -> None:
    page = visit(locale=locale)
    page.select_option("#model", "heads")
    ask(page, "abc")
    assert page.is_hidden("#heads-large")
    monkeypatch.setattr("pairloom.server.explain.MOST_WEIGHTS", 3)
    ask(page, "abcd")
    assert words in page.inner_text("#heads-large")
    assert page.is_hidden("#heads")
    assert page.is_visible("#map table")
    page.click("#tab-steps")
    assert words in page.inner_text(".part.kept .note")
    page.select_option("#model", "turned")  # has no heads that could be left out
    ask(page, "abcd")
    page.click("#tab-looks")
    assert page.is_hidden("#heads-large")


@pytest.mark.parametrize(
    ("locale", "words"),
    [("en-US", "5 × 5 weights are too many for a table"), ("ko-KR", "5 × 5개라 표로 그리기에는 많습니다")],
)
def test_a_matrix_that_is_too_large(visit: Visit, locale: str, words: str) -> None:
    def smaller(route: Any) -> None:
        script, count = re.subn("MOST_CELLS = [0-9_]+", "MOST_CELLS = 20", route.fetch().text())
        assert count == 1
        route.fulfill(body=script, content_type="text/javascript")

    page = visit(locale=locale, before=lambda page: page.route("**/page/heatmap.js", smaller))
    ask(page, "abcd")
    assert words in page.inner_text("#map")
    assert page.is_hidden("#map-note")  # it explains rows and columns
    page.hover("#loom-target .token")
    assert page.locator("#loom-source .token.lit").count() > 0
    ask(page, "ab")
    assert page.is_visible("#map table")
    assert page.is_visible("#map-note")


@pytest.mark.parametrize(
    ("locale", "looks", "steps"),
    [
        ("en-US", "This model has no attention", "there are no weights to show"),
        ("ko-KR", "이 모델에는 어텐션이 없습니다", "보여 줄 가중치도 없습니다"),
    ],
)
def test_a_model_without_attention(visit: Visit, locale: str, looks: str, steps: str) -> None:
    page = visit(locale=locale)
    ask(page, "abcd")  # by a model with attention, of which nothing may be left
    page.click("#loom-target .token")
    page.select_option("#model", "fixed")
    ask(page, "abc")
    assert looks in page.inner_text("#looks-lead")
    assert page.locator("#looks :is(.token, td, select, #heads-large)").filter(visible=True).count() == 0
    page.keyboard.press("Escape")
    page.click("#tab-steps")
    assert steps in page.inner_text("#steps-lead")
    assert page.locator(".run :is(.plane, .weight, tfoot)").count() == 0
    assert page.locator(".one-state .strip").count() == 1
    page.check("#forcing")
    page.wait_for_selector(".runs.two .run.forced")
    page.click("#tab-beam")
    assert page.locator("#tree .node.winner").count() > 0


def test_korean_letters_being_composed(visit: Visit) -> None:
    page = visit(locale="ko-KR")
    page.focus("#source")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    keyboard = page.context.new_cdp_session(page)
    for syllable, steps in (("나", "ㄴ나"), ("다", "ㄷ다"), ("라", "ㄹ라")):
        for text in steps:
            keyboard.send("Input.imeSetComposition", {"text": text, "selectionStart": 1, "selectionEnd": 1})
        if syllable == "라":  # Enter now ends the syllable, and asks nothing
            composing = "new KeyboardEvent('keydown', {key: 'Enter', isComposing: true, bubbles: true})"
            page.evaluate(f"document.querySelector('#source').dispatchEvent({composing})")
        keyboard.send("Input.insertText", {"text": syllable})
    assert page.input_value("#source") == "나다라"
    assert asked == []
    page.keyboard.press("Enter")
    page.wait_for_selector("#inside:not([hidden])")
    assert page.inner_text("#answer") == "라다나"
    assert page.locator("#loom-source .piece").all_inner_texts() == ["나", "다", "라", "끝"]


def test_english_and_korean(visit: Visit) -> None:
    page = visit(locale="ko-KR")
    assert page.evaluate("document.documentElement.lang") == "ko"
    assert page.inner_text("#go") == "생성"
    ask(page, "abc")
    assert page.inner_text("#tab-looks") == "어텐션"
    page.click("[data-language='en']")
    assert page.inner_text("#go") == "Generate"
    assert page.inner_text("#loom-source .end .piece") == "end"  # what was drawn by script, too
    page.reload()
    assert page.inner_text("#go") == "Generate"  # the reader's own choice stays


def test_an_overloaded_server(slow_or_full: Site, visit: Visit) -> None:
    slow_or_full.full = True
    page = visit()
    page.fill("#source", "abcd")
    page.click("#go")
    page.wait_for_selector("#problem:not([hidden])")
    assert "more work than it can bear" in page.inner_text("#problem")
    assert re.search(r"Trying again in \d+ s", page.inner_text("#problem"))
    slow_or_full.full = False
    page.wait_for_selector("#inside:not([hidden])")  # it has tried again by itself
    assert page.inner_text("#answer") == "dcba"
    assert page.is_hidden("#problem")


def test_a_lost_connection(slow_or_full: Site, visit: Visit) -> None:
    page = visit()
    page.context.set_offline(True)
    page.fill("#source", "abcd")
    page.click("#go")
    page.wait_for_selector("#problem:not([hidden])")
    assert "connection to the server is lost" in page.inner_text("#problem")
    page.context.set_offline(False)
    page.click("#problem button")
    page.wait_for_selector("#inside:not([hidden])")
    assert page.inner_text("#answer") == "dcba"


def test_a_stream_that_breaks_off(visit: Visit) -> None:
    page = visit()
    half = 'event: piece\ndata: {"text": "dc"}\n\n'
    page.route("**/generate", lambda route: route.fulfill(body=half, content_type="text/event-stream"))
    page.fill("#source", "abcd")
    page.click("#go")
    page.wait_for_selector("#problem:not([hidden])")
    assert "connection to the server is lost" in page.inner_text("#problem")
    assert page.inner_text("#answer") == "dc"  # stays


def test_a_server_that_wants_its_key(site: Site, browser: Any) -> None:
    from pairloom.server.app import create_app
    from pairloom.server.settings import server_settings

    with serving(
        create_app(site.app.state.service.shelf, server_settings({"workers": 1, "key": "open sesame"}))
    ) as url:
        page = browser.new_page(locale="en-US")
        page.set_default_timeout(8000)
        page.goto(url)
        page.wait_for_selector("#key-line:not([hidden])")
        assert "does not answer without its key" in page.inner_text("#problem")
        page.fill("#key", "open")
        page.press("#key", "Enter")
        page.wait_for_selector("#problem:not([hidden])")
        page.fill("#key", "open sesame")
        page.click("#key-line button")
        page.wait_for_selector("body[data-form]")
        assert page.is_hidden("#key-line")
        ask(page, "abcd")
        assert page.inner_text("#answer") == "dcba"
        page.close()


def test_a_conversation(visit: Visit) -> None:
    page = visit()
    page.select_option("#model", "talks")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.post_data or ""))
    for line in ("abc", "cab"):
        page.fill("#source", line)
        page.press("#source", "Enter")
        page.wait_for_selector("body:not(.busy)")
    assert '"before":["abc"' in asked[-1]  # the second line is asked with what was said before it
    assert page.locator("#talk .mine .said").all_inner_texts() == ["abc", "cab"]
    assert page.locator("#talk .its").count() == 2
    assert page.input_value("#source") == ""
    replies = page.locator("#talk .its .said").all_inner_texts()
    page.locator("#talk .its button").first.click()
    page.wait_for_selector("#inside:not([hidden])")
    assert page.locator("#loom-source .piece").all_inner_texts() == ["a", "b", "c", "end"]
    letters = page.locator("#loom-target .piece").all_inner_texts()[:-1]
    assert "".join(letters).replace("␣", " ").strip() == replies[0].strip()  # what was drawn is what is opened up
    page.click("#tab-steps")
    page.check("#forcing")
    page.wait_for_selector(".runs.two .run.forced")
    page.wait_for_selector("body:not(.busy)")
    opened = words_of(page, "free")
    page.fill("#source", "bed")
    page.press("#source", "Enter")
    page.wait_for_selector("body:not(.busy)")
    assert words_of(page, "free") == opened  # a new line opens nothing up by itself
    page.locator("#talk .its button").last.click()
    page.wait_for_selector("body:not(.busy)")
    assert page.locator("#loom-source .piece").all_inner_texts()[-4:] == ["b", "e", "d", "end"]
    assert page.locator(".run").count() == 2


def test_narrow_screens_and_dark_ones(visit: Visit) -> None:
    page = visit(viewport={"width": 340, "height": 700}, color_scheme="dark")
    ask(page, "abcdefgh")
    page.click("#tab-steps")
    page.check("#forcing")
    for tab in ("looks", "steps", "beam"):
        page.click(f"#tab-{tab}")
        assert page.evaluate("document.documentElement.scrollWidth") <= 340, tab
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    light = visit().evaluate("getComputedStyle(document.body).backgroundColor")
    assert brightness(dark) < 60
    assert brightness(light) > 200


def brightness(color: str) -> float:
    return sum(map(int, re.findall(r"\d+", color)[:3])) / 3


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_can_be_read(visit: Visit, scheme: str) -> None:
    page = visit(color_scheme=scheme)
    faint = (Path(__file__).parent / "contrast.js").read_text("utf-8")
    assert page.evaluate(faint) == []
    ask(page, "abcd")
    ask(page, "acegh")
    for side in ("source", "target"):
        for token in page.locator(f"#loom-{side} .token").all():
            token.hover()
            assert page.evaluate(faint) == []
    token.click()
    assert page.evaluate(faint) == []
    shades = """(shade) => { for (const cell of document.querySelectorAll("#map td, .token"))
        cell.className = `${cell.classList.contains("token") ? "token lit" : ""} l${shade}` }"""
    for shade in range(1, 11):
        page.evaluate(shades, shade)
        assert page.evaluate(faint) == []
    page.click("#tab-steps")
    page.check("#forcing")
    page.wait_for_selector("body:not(.busy)")
    page.fill("#given", "bc")
    page.click("#compare")
    playwright.expect(page.locator(".run.forced .word")).to_have_count(3)
    while page.is_enabled("#forward"):
        assert page.evaluate(faint) == []
        page.click("#forward")
    assert page.locator(".run.over").count() == 1
    assert page.evaluate(faint) == []
    page.click("#tab-beam")
    page.check("#dropped")
    assert page.evaluate(faint) == []
    page.select_option("#model", "talks")
    page.fill("#source", "abc")
    page.press("#source", "Enter")
    page.wait_for_selector("body:not(.busy)")
    assert page.evaluate(faint) == []


def test_what_is_pointed_at_stays_where_it_is(visit: Visit) -> None:
    page = visit(viewport={"width": 1000, "height": 700})
    ask(page, "abcd")
    place = page.locator("#map-box").bounding_box()
    page.hover("#loom-target .token")
    assert "looks at" in page.inner_text("#detail")
    assert page.evaluate("scrollY") + page.locator("#map-box").bounding_box()["y"] == place["y"]


def test_everything_has_a_name_for_screen_readers(visit: Visit) -> None:
    page = visit()
    ask(page, "abc")
    nameless = """[...document.querySelectorAll('button, input, select, textarea, [role=region], [role=group]')]
        .filter((e) => e.checkVisibility() && !(e.textContent.trim() || e.labels?.length || e.ariaLabel
                || e.getAttribute('aria-labelledby')))
        .map((e) => e.outerHTML)"""
    for tab in ("looks", "steps", "beam"):
        page.click(f"#tab-{tab}")
        assert page.evaluate(nameless) == []
    assert page.inner_text("#announce") == "Done: cba"
