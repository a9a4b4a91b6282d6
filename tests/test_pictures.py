"""The pictures: files that open, the same bytes every time, every script readable, errors that say what is wrong."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import sys
import threading
import unicodedata
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from rich.cells import cell_len

from pairloom.errors import StorageError, UsageError
from pairloom.pictures import (
    attention_in_terminal,
    attention_page,
    draw_attention,
    draw_curve,
    draw_states,
    sparkline,
)
from pairloom.pictures.fonts import bundled_faces, typeset
from pairloom.pictures.labels import visible
from pairloom.pictures.states import project

SCRIPTS = [
    *("안녕하세요", "ᄒ", "ᅡ", "ᆫ", "你好", "こんにちは", "Привет", "Γειά", "नमस्ते", "สวัสดี", "வணக்கம்", "হ্যালো", "ਸਤ"),
    *("שלום", "مَرْحَبًا", "tʃʰɛ̃ŋ", "p̚", "გამარჯობა", "Բարև", "హలో", "ഹലോ", "ជំរាប", "ລາວ", "አማርኛ", "龘", "🦄", "़", "́"),
    *("▁Hund", "▁", " ", "\n", "", "\x1b[31m", "\u202eevil", "\u200d", "\ud800", "$x_1$", "\\frac", "</s>", "\u3164"),
]
ROWS: list[dict[str, Any]] = [
    *({"event": "step", "step": 10 * i, "loss": 5.0 / i, "seconds": float(i)} for i in range(1, 60)),
    *(
        {"event": "validation", "step": 100 * i, "loss": abs(i - 3) + 1.0, "exact": i / 10, "best": i <= 4}
        for i in range(1, 6)
    ),
    {"event": "saved", "step": 590, "path": "somewhere"},
]


def attention(targets: int, sources: int) -> NDArray[np.float32]:
    weights = np.random.default_rng(0).gamma(0.3, size=(targets, sources)) + 1e-6
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), dtype=np.float32)


def image_size(path: Path) -> tuple[int, ...]:
    from PIL import Image

    with Image.open(path) as image:
        image.verify()
        assert image.format == "PNG"
        return image.size


class Page(HTMLParser):
    """The tags of a page, and the text of its scripts, styles and table cells."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self.ended = False
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.ended = False
        self.tags.append((tag, dict(attrs)))
        self.texts.setdefault(tag, []).append("")

    def handle_endtag(self, tag: str) -> None:
        self.ended = True

    def handle_data(self, data: str) -> None:
        if self.tags and not self.ended:
            self.texts[self.tags[-1][0]][-1] += data

    @property
    def data(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(self.texts["script"][0])
        return content


# Labels and fonts


@pytest.mark.parametrize(
    ("token", "shown"),
    [
        ("▁Hund", "␣Hund"),
        ("a b", "a␣b"),
        (unicodedata.normalize("NFD", "한국"), "한국"),
        ("\u1112", "\u314e"),
        ("\u1161\u11ab", "\u314f\u3134"),
        ("\u3164", "U+3164"),
        ("\n", "↵"),
        ("", "∅"),
        ("\x1b[0m", "U+001B[0m"),
        ("\ud800", "U+D800"),
        ("\u202e", "U+202E"),
        ("\u200d", "U+200D"),
        ("\u0301", "◌\u0301"),
        ("नमस्ते", "नमस्ते"),
    ],
)
def test_what_cannot_be_seen_is_marked(token: str, shown: str) -> None:
    assert visible(token) == shown


def test_shortened_between_a_base_and_its_marks_never() -> None:
    assert visible("Donaudampfschiff", 6) == "Donau…"
    assert visible("안녕하세요", 6) == "안녕…"
    assert visible("ae\u0323\u0302i\u0323\u0302o", 3) == "aệ…"
    assert visible("abc", 3) == "abc"


@given(st.text(max_size=30), st.integers(1, 20))
def test_a_label_is_printable_and_fits(token: str, columns: int) -> None:
    shown = visible(token, columns)
    assert cell_len(shown) <= columns
    assert shown.encode()
    assert not any(unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"} for character in shown)


def test_bundled_fonts_cover_all_of_modern_korean_and_what_the_readme_says() -> None:
    covered = frozenset[int]().union(*(face.covers for face in bundled_faces()))
    modern = [*range(0xAC00, 0xD7A4), *range(0x3131, 0x3164), *range(0x3041, 0x3097), *range(0x30A1, 0x30FB)]
    ipa = range(0x250, 0x2B0)
    assert covered.issuperset([*modern, *ipa, *map(ord, "年月日한中文国你好नमस्तेสวัสดีক")])


def test_no_font_means_the_code_not_a_box() -> None:
    assert typeset("a\U0010fffd") == ("aU+10FFFD", ["DejaVu Sans"])
    assert typeset("\U0010fffd" * 5)[0] == "U+10FFFD U+10FFFD…"
    assert typeset("한글")[1] == ["Pairloom CJK"]
    assert typeset("◌\u093c")[1] == ["Pairloom Devanagari"]


# Files


@pytest.mark.parametrize("suffix", ["png", "svg", "html"])
def test_every_script_is_drawn_without_a_warning_and_to_the_same_bytes(tmp_path: Path, suffix: str) -> None:
    first, second = tmp_path / f"one.{suffix}", tmp_path / f"two.{suffix.upper()}"
    weights = attention(len(SCRIPTS), len(SCRIPTS))
    for path in (first, second):
        draw_attention(weights, SCRIPTS, SCRIPTS[::-1], path, title="제목 $x$ नमस्ते", score=-1.5)
    assert first.read_bytes() == second.read_bytes()
    if suffix == "svg":
        tree = ElementTree.parse(first)
        assert tree.getroot().tag == "{http://www.w3.org/2000/svg}svg"
        assert b"<dc:date>" not in first.read_bytes()
    elif suffix == "png":
        assert min(image_size(first)) > 1_000


def test_a_missing_glyph_would_be_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test above relies on matplotlib's warning: without our choice of fonts it is there."""
    monkeypatch.setattr("pairloom.pictures.fonts.typeset", lambda label: (label, ["DejaVu Sans"]))
    with pytest.warns(UserWarning, match="Glyph"):
        draw_attention([[1.0]], ["한"], ["a"], tmp_path / "a.png")


@pytest.mark.parametrize("size", [(1, 1), (5, 5), (50, 50), (3, 40)])
def test_a_picture_grows_with_its_tokens(tmp_path: Path, size: tuple[int, int]) -> None:
    targets, sources = size
    path = tmp_path / "a.png"
    draw_attention(attention(*size), [f"s{i}" for i in range(sources)], [f"t{i}" for i in range(targets)], path)
    width, height = image_size(path)
    assert width >= sources * 0.22 * 160
    assert height >= targets * 0.22 * 160


def test_a_long_text_stays_within_what_an_image_may_be(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    draw_attention(attention(2, 500), ["x"] * 500, ["y"] * 2, path)
    assert image_size(path)[0] < 10_000


def test_the_settings_of_matplotlib_are_neither_used_nor_changed(tmp_path: Path) -> None:
    import matplotlib

    paths = [tmp_path / "a.svg", tmp_path / "b.svg"]
    draw_attention(attention(2, 2), ["a", "b"], ["c", "d"], paths[0])
    with matplotlib.rc_context({"font.size": 30, "svg.hashsalt": "mine", "axes.facecolor": "red"}):
        draw_attention(attention(2, 2), ["a", "b"], ["c", "d"], paths[1])
        assert matplotlib.rcParams["svg.hashsalt"] == "mine"
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert "matplotlib.pyplot" not in sys.modules


def test_threads_draw_what_one_draws(tmp_path: Path) -> None:
    def draw(name: str) -> None:
        draw_attention(attention(3, 3), ["가", "b", "c"], ["d", "e", "f"], tmp_path / name)

    draw("alone.svg")
    threads = [threading.Thread(target=draw, args=(f"{number}.svg",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({path.read_bytes() for path in tmp_path.iterdir()}) == 1
    assert len(list(tmp_path.iterdir())) == 5


# The page


def test_the_page_holds_exactly_the_weights_that_it_lights_up() -> None:
    weights = attention(4, 3)
    page = Page(attention_page(weights, ["a", "b", "c"], ["w", "x", "y", "z"], score=-2.5))
    assert np.array_equal(np.array(page.data["weights"], dtype=np.float32), weights)
    assert (page.data["source"], page.data["target"], page.data["score"]) == (list("abc"), list("wxyz"), -2.5)
    ids = [attributes.get("id") for tag, attributes in page.tags if tag == "button"]
    assert ids == ["target-1", "target-2", "target-3", "target-4", "source-1", "source-2", "source-3"]
    cells = page.texts["td"][1:]  # without the corner
    assert cells == [f"{weight:.2f}" if weight >= 0.01 else "" for weight in weights.ravel()]
    assert all("aria-pressed" in attributes for tag, attributes in page.tags if tag == "button")


def test_a_token_cannot_bring_its_own_script() -> None:
    evil = ["<script>alert(1)</script>", "</script><img src=x onerror=alert(1)>", "<!--", "\"'&", "${title}"]
    page = attention_page(attention(5, 5), evil, evil, title="</title><script>alert(2)</script>")
    parsed = Page(page)
    tags = [tag for tag, _ in parsed.tags]
    assert tags.count("script") == 2
    assert "img" not in tags
    assert parsed.data["source"] == evil
    assert not any(name.startswith("on") for _, attributes in parsed.tags for name in attributes)


def test_the_page_needs_nothing_from_elsewhere_and_allows_only_its_own_script() -> None:
    page = attention_page(attention(1, 1), ["a"], ["b"])
    parsed = Page(page)
    assert not re.search(r"https?:|//[a-z]|url\(|@import|\bsrc=|<link", page)
    assert ("html", {"lang": "en"}) in parsed.tags
    policy = next(
        attributes["content"] for tag, attributes in parsed.tags if tag == "meta" and "http-equiv" in attributes
    )
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    for content in (parsed.texts["style"][0], parsed.texts["script"][1]):
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy
    assert "style=" not in page  # the policy would refuse it


def test_the_page_lets_choose_among_layers_and_heads() -> None:
    first, second = attention(2, 3), attention(2, 3)[::-1]
    choices = {"what the model goes by": first, "layer 1, head <2>": second}
    page = Page(attention_page(first, list("abc"), list("xy"), choices=choices))
    assert ("p", {"id": "choice", "hidden": None}) in page.tags  # until the script can act on it
    assert ("label", {"for": "weights"}) in page.tags
    assert page.texts["option"] == list(choices)
    for choice, weights in zip(page.data["choices"], choices.values(), strict=True):
        np.testing.assert_allclose(choice["weights"], weights, atol=1e-4)
        assert choice["top"] == pytest.approx(max(0.25, weights.max()))
    plain = Page(attention_page(first, list("abc"), list("xy")))
    assert "select" not in [tag for tag, _ in plain.tags]
    with pytest.raises(UsageError, match="do not fit"):
        attention_page(first, list("abc"), list("xy"), choices={"wrong": first[:, :2]})
    many = {str(number): np.full((20, 60), 0.1) for number in range(1700)}
    page = Page(attention_page(many["0"], ["a"] * 60, ["b"] * 20, choices=many))
    assert page.data["choices"] == []
    assert "The weights of 1700 layers and heads are too many for one page." in page.texts["p"]


def test_a_very_large_table_is_left_out() -> None:
    page = Page(attention_page(attention(201, 200), ["a"] * 200, ["b"] * 201))
    assert "table" not in [tag for tag, _ in page.tags]
    assert len(page.data["weights"]) == 201


# The terminal


@settings(max_examples=60)
@given(
    st.lists(st.one_of(st.sampled_from(SCRIPTS), st.text(max_size=12)), min_size=1, max_size=40),
    st.lists(st.one_of(st.sampled_from(SCRIPTS), st.text(max_size=12)), min_size=1, max_size=5),
    st.integers(1, 120),
)
def test_the_terminal_is_never_wider_than_told(source: list[str], target: list[str], width: int) -> None:
    weights = attention(len(target), len(source))
    plain = attention_in_terminal(weights, source, target, width, color=False)
    coloured = attention_in_terminal(weights, source, target, width)
    assert "\x1b" not in plain
    assert max(cell_len(line) for line in plain.split("\n")) <= width
    stripped = re.sub(r"\x1b\[[0-9;]*m", "", coloured)
    assert "\x1b" not in stripped
    assert [line.rstrip() for line in stripped.split("\n")] == [line.rstrip() for line in plain.split("\n")]


def test_the_terminal_grid_aligns_wide_characters() -> None:
    weights = [[0.9, 0.1, 0.0], [0.0, 0.3, 0.6]]
    lines = attention_in_terminal(weights, ["안녕", "a", "日本語"], ["책", "book"], 40, color=False).split("\n")
    assert lines[:3] == ["     안녕 a  日本語", "  책  ██  ░░", "book      ▒▒   ▓▓"]


def test_many_tokens_stand_on_end_and_more_become_a_list() -> None:
    weights = np.full((1, 12), 0.01)
    weights[0, 3] = 0.83
    source = [f"ab{letter}" for letter in "cdefghijklmn"]
    lines = attention_in_terminal(weights, source, ["t"], 40, color=False).split("\n")
    assert [line.split() for line in lines[:3]] == [["a"] * 12, ["b"] * 12, list("cdefghijklmn")]
    assert lines[3].index("██") == 2 + 3 * 3
    assert attention_in_terminal(weights, source, ["t"], 30, color=False) == "t ← abf (0.83), abc (0.01)"


# Curves


@pytest.mark.parametrize("suffix", ["png", "svg"])
@pytest.mark.parametrize(
    "rows",
    [
        ROWS,
        [],
        ROWS[:1],
        [row for row in ROWS if row["event"] == "validation"],
        [row for row in ROWS if row["event"] == "step"],
        [{"event": "step", "step": 1, "loss": float("nan")}, {"event": "validation", "step": 1, "loss": None}],
    ],
    ids=["all", "empty", "one step", "validation only", "steps only", "not finite"],
)
def test_curves_are_drawn_from_whatever_there_is(tmp_path: Path, rows: list[dict[str, Any]], suffix: str) -> None:
    paths = [tmp_path / f"{number}.{suffix}" for number in range(2)]
    for path in paths:
        draw_curve(rows, path)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    if suffix == "png":
        assert image_size(paths[0])[0] > 800
    else:
        assert ElementTree.parse(paths[0]).getroot().tag.endswith("svg")


def written(monkeypatch: pytest.MonkeyPatch, draw: Callable[[], None]) -> list[str]:
    """The texts that a drawing puts on its figure."""
    from matplotlib.figure import Figure
    from matplotlib.text import Text

    texts: list[str] = []
    monkeypatch.setattr(
        "pairloom.pictures.curve.save",
        lambda figure, path, suffix: texts.extend(
            text.get_text() for text in Figure.findobj(figure, Text) if isinstance(text, Text)
        ),
    )
    draw()
    return texts


def test_the_best_step_is_the_last_one_marked_best_else_the_lowest_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    marked = written(monkeypatch, lambda: draw_curve(ROWS, "a.png"))
    assert "best: 2.000 at step 400" in marked
    assert "best: 40.0% at step 400" in marked
    unmarked = [{key: value for key, value in row.items() if key != "best"} for row in ROWS]
    assert "best: 1.000 at step 300" in written(monkeypatch, lambda: draw_curve(unmarked, "a.png"))
    assert "no steps recorded yet" in written(monkeypatch, lambda: draw_curve([], "a.png"))


@pytest.mark.parametrize(
    ("values", "width", "line"),
    [
        ([], 10, ""),
        ([1.0], 10, "▁"),
        ([3, 3, 3], 10, "▁▁▁"),
        ([0, 1, 2, 3, 4, 5, 6, 7], 8, "▁▂▃▄▅▆▇█"),
        ([0, 0, 7, 7], 2, "▁█"),
        ([0, float("nan"), 7], 3, "▁ █"),
        ([float("inf")], 3, " "),
        ([1, 2], 0, ""),
    ],
)
def test_sparkline(values: list[float], width: int, line: str) -> None:
    assert sparkline(values, width) == line


# Context vectors


def test_the_projection_keeps_what_varies_most() -> None:
    generator = np.random.default_rng(1)
    flat = generator.normal(size=(20, 2)) * [5, 2]
    turn, _ = np.linalg.qr(generator.normal(size=(8, 8)))
    places, shares = project(flat @ turn[:2] + 3.0)
    assert shares.sum() == pytest.approx(1)
    distances = np.linalg.norm(flat[:, None] - flat[None], axis=-1)
    assert np.linalg.norm(places[:, None] - places[None], axis=-1) == pytest.approx(distances)


@pytest.mark.parametrize("size", [(1, 4), (2, 1), (30, 16), (250, 3)])
def test_states_are_drawn(tmp_path: Path, size: tuple[int, int]) -> None:
    vectors = np.random.default_rng(2).normal(size=size)
    labels = [f"{SCRIPTS[number % len(SCRIPTS)]} {number}" for number in range(size[0])]
    for name in ("a.png", "b.png", "c.svg", "d.svg"):
        draw_states(vectors, labels, tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert (tmp_path / "c.svg").read_bytes() == (tmp_path / "d.svg").read_bytes()
    assert image_size(tmp_path / "a.png")[0] > 800


# Errors


@pytest.mark.parametrize("weights", [np.ones((2, 3)), np.ones(2), np.ones((1, 2, 3))])
def test_a_shape_that_does_not_fit_is_named_with_its_labels(weights: NDArray[np.float64]) -> None:
    message = rf"shape {re.escape(str(list(weights.shape)))} do not fit 3 target tokens × 2 source tokens.*\[3, 2\]"
    for draw in (attention_page, attention_in_terminal):
        with pytest.raises(UsageError, match=message):
            draw(weights, ["a", "b"], ["c", "d", "e"])
    with pytest.raises(UsageError, match=message):
        draw_attention(weights, ["a", "b"], ["c", "d", "e"], "a.png")


def test_other_misuse_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot draw a\.pdf: the name must end in one of \.png, \.svg, \.html"):
        draw_attention([[1.0]], ["a"], ["b"], "a.pdf")
    with pytest.raises(UsageError, match=r"curve: the name must end in one of \.png, \.svg$"):
        draw_curve([], "curve")
    with pytest.raises(UsageError, match=r"no attention to draw: 0 target tokens and 2 source tokens"):
        attention_page(np.ones((0, 2)), ["a", "b"], [])
    with pytest.raises(UsageError, match="finite and not negative"):
        attention_in_terminal([[float("nan")]], ["a"], ["b"])
    with pytest.raises(UsageError, match=r"shape \[2, 3\] do not fit 1 labels: give an array of shape \[1, D\]"):
        draw_states(np.ones((2, 3)), ["a"], tmp_path / "a.png")
    with pytest.raises(UsageError, match="not finite"):
        draw_states([[float("inf")]], ["a"], tmp_path / "a.png")
    for name in ("a.png", "a.html"):
        with pytest.raises(StorageError, match=r"cannot write the picture .*: No such file or directory"):
            draw_attention([[1.0]], ["a"], ["b"], tmp_path / "nowhere" / name)


def test_importing_does_not_load_matplotlib() -> None:
    import subprocess

    program = "import sys, pairloom.pictures; assert 'matplotlib' not in sys.modules, 'matplotlib'"
    subprocess.run([sys.executable, "-c", program], check=True)
