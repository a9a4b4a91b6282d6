"""Takes the pictures of the page that README.md and this folder show, from a trained model, in a headless Chromium.

    python docs/page/screenshots.py runs/de-en            # attention.png, steps.png, forcing.png, beam.png, phone.png

The model of the pictures here: Multi30k German to English, `pairloom train train.de train.en --dev val.de val.en`
(see docs/RESULTS.md). It needs playwright and Chromium (PAIRLOOM_CHROMIUM names another one), and a font with Hangul.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Page, sync_playwright

SOURCE = "Neben einem alten Haus schläft ein großer brauner Hund im Schnee."
TARGET = "A big brown dog is sleeping in the snow next to an old house."
CLOSE = "Ein Mann repariert sein Fahrrad am Straßenrand."  # whose winner was not always ahead
LARGEST = 200_000  # bytes of a picture


@contextmanager
def serving(folder: str) -> Iterator[str]:
    """The address of `pairloom serve FOLDER`."""
    command = [sys.executable, "-m", "pairloom", "serve", folder, "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        try:
            for line in server.stderr:
                if line.startswith("{") and json.loads(line)["event"] == "listening":
                    yield f"http://127.0.0.1:{json.loads(line)['port']}"
                    break
        finally:
            server.terminate()


def asked(page: Page, address: str, text: str) -> None:
    """The page with an answer that can be looked into."""
    page.goto(address)
    page.wait_for_selector("body[data-form]")
    page.fill("#source", text)
    page.click("#go")
    page.wait_for_selector("#inside:not([hidden])", timeout=60_000)
    page.wait_for_selector("body:not(.busy)")


def threads(page: Page) -> None:
    """What all tokens look at."""
    page.mouse.move(0, 0)


def pointing(page: Page) -> None:
    """One token written, and what it looks at."""
    page.hover("#loom-target .token >> nth=11")


def steps(page: Page) -> None:
    """The middle of the decoding."""
    page.click("#tab-steps")
    for _ in range(5):
        page.click("#forward")
    page.mouse.move(0, 0)


def forcing(page: Page) -> None:
    """The same beside the right answer."""
    steps(page)
    page.check("#forcing")
    page.fill("#given", TARGET)
    page.click("#compare")
    page.wait_for_selector(".runs.two")
    page.wait_for_selector("body:not(.busy)")
    page.evaluate("document.activeElement.blur()")


def beam(page: Page) -> None:
    """The tree."""
    page.click("#tab-beam")


SHOTS: dict[str, tuple[Any, dict[str, Any]]] = {
    "attention": (threads, {"viewport": {"width": 1120, "height": 800}, "locale": "en-US"}),
    "steps": (steps, {"viewport": {"width": 1120, "height": 800}, "locale": "en-US"}),
    "forcing": (forcing, {"viewport": {"width": 1120, "height": 800}, "locale": "ko-KR"}),
    "beam": (beam, {"viewport": {"width": 1120, "height": 800}, "locale": "en-US", "color_scheme": "dark"}),
    "phone": (
        pointing,
        {
            "viewport": {"width": 390, "height": 844},
            "locale": "ko-KR",
            "color_scheme": "dark",
            "device_scale_factor": 2,
        },
    ),
}


def write(picture: bytes, path: Path) -> None:
    """As a PNG of at most 256 colours, which a page of few colours does not show."""
    image = Image.open(BytesIO(picture)).convert("RGB").quantize(256, dither=Image.Dither.NONE)
    image.save(path, optimize=True)
    size = path.stat().st_size
    assert size <= LARGEST, f"{path}: {size:,} bytes are too many"
    print(f"{path}: {size:,} bytes")


def main() -> None:
    """Takes all pictures, or those that are named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", help="a model from German to English")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    parser.add_argument("--only", nargs="*", choices=list(SHOTS), default=list(SHOTS))
    given = parser.parse_args()
    chromium = os.environ.get("PAIRLOOM_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    with serving(given.folder) as address, sync_playwright() as started:
        browser = started.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for name in given.only:
            prepare, options = SHOTS[name]
            context = browser.new_context(**options, reduced_motion="reduce")
            page = context.new_page()
            asked(page, address, CLOSE if name == "beam" else SOURCE)
            prepare(page)
            page.wait_for_timeout(200)
            # A phone's picture is what is on its screen; the others are the whole page.
            write(page.screenshot(full_page=name != "phone"), given.out / f"{name}.png")
            context.close()
        browser.close()


if __name__ == "__main__":
    main()
