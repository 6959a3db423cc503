"""The page in a real browser: photos come in every way, box and filters change the answer, and everybody can use it."""

import base64
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from carsfg.search.engine import VisualSearch
from carsfg.synthetic.catalogue import car_model
from carsfg.tasks.base import CarsTask
from tests.app.client import Client, encoded
from tests.app.conftest import Serve

playwright = pytest.importorskip("playwright.sync_api", reason="the page is tried with playwright: see the extra dev")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="and with axe-playwright-python")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")]

LARK, VAN, COUPE, CAB = (car_model(label).name for label in range(4))
HAND_OVER = """([target, kind, data]) => {
  const bytes = Uint8Array.from(atob(data), (one) => one.charCodeAt(0)), files = new DataTransfer();
  files.items.add(new File([bytes], "photo.png", { type: "image/png" }));
  const event = kind === "paste" ? new ClipboardEvent(kind, { clipboardData: files, bubbles: true })
    : new DragEvent(kind, { dataTransfer: files, bubbles: true, cancelable: true });
  document.querySelector(target).dispatchEvent(event);
}"""

FADED = """() => Promise.all(document.getAnimations().filter((one) => one.effect.getComputedTiming().endTime < Infinity)
  .map((one) => one.finished.catch(() => null)))"""


class Visitor:
    """Looks at the page, and notes what goes wrong behind it."""

    def __init__(self, page: Any, port: int) -> None:
        self.page, self.host = page, f"http://127.0.0.1:{port}/"
        self.wrong: list[str] = []
        page.on("console", lambda one: self.wrong.append(one.text) if one.type == "error" else None)
        page.on("pageerror", lambda error: self.wrong.append(str(error)))
        page.on("request", self._note)
        page.goto(self.host)
        page.wait_for_selector("#photo .choose >> visible=true")

    def _note(self, request: Any) -> None:
        if not request.url.startswith((self.host, "data:", "blob:")):
            self.wrong.append(request.url)

    def choose(self, data: bytes, name: str = "photo.png") -> None:
        self.page.set_input_files("#photo input.file", {"name": name, "mimeType": "image/png", "buffer": data})

    def sees(self, name: str) -> None:
        """Waits until the most similar image is of a class."""
        first = self.page.locator("#found .match .name").first
        playwright.expect(first).to_have_text(name, timeout=15_000)

    def is_told(self, words: str) -> None:
        playwright.expect(self.page.locator("#found .problem")).to_contain_text(words, timeout=15_000)

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Drags over the photo, in shares of its sides."""
        stage = self.page.locator("#photo .stage")
        stage.scroll_into_view_if_needed()
        area = stage.bounding_box()
        (x0, y0), (x1, y1) = ((area["x"] + x * area["width"], area["y"] + y * area["height"]) for x, y in (start, end))
        self.page.mouse.move(x0, y0)
        self.page.mouse.down()
        self.page.mouse.move((x0 + x1) / 2, (y0 + y1) / 2)
        self.page.mouse.move(x1, y1)
        self.page.mouse.up()

    def violations(self) -> list[str]:
        """Returns what keeps people from using it."""
        tracker = self.page.locator("#found [data-testid=status-tracker].hide")
        playwright.expect(tracker).to_have_count(1)  # what is out of date is pale
        self.page.evaluate(FADED)
        found = axe.Axe().run(self.page).response["violations"]
        grave = [one for one in found if one["impact"] in ("serious", "critical")]
        return [f"{one['id']}: {[node['html'][:200] for node in one['nodes']]}" for one in grave]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture(params=[1280, 390])
def visitor(request: pytest.FixtureRequest, browser: Any, server: Client) -> Iterator[Visitor]:
    """One with a wide screen, then one with a phone; at the end nothing went wrong, and nothing was too wide."""
    context = browser.new_context(viewport={"width": request.param, "height": 844}, reduced_motion="reduce")
    visitor = Visitor(context.new_page(), server.port)
    yield visitor
    assert visitor.wrong == []
    assert visitor.page.evaluate("document.documentElement.scrollWidth") <= request.param
    context.close()


@pytest.fixture(scope="module")
def own(search: VisualSearch) -> list[bytes]:
    """The gallery's own pictures number 5, 65, 125 and 185, one of each class."""
    assert search.gallery.thumbnails is not None
    return [encoded(search.gallery.thumbnails[place]) for place in (5, 65, 125, 185)]


def test_a_photo_is_searched(visitor: Visitor, own: list[bytes]) -> None:
    for data, name in zip(own, (LARK, VAN, COUPE, CAB), strict=True):
        visitor.choose(data)
        visitor.sees(name)
    assert visitor.page.locator("#found .match").count() == 12
    playwright.expect(visitor.page.locator("#photo .status")).to_contain_text(f"Most similar: {CAB}.")
    assert visitor.page.title() == "carsfg: find the most similar cars"


def test_the_box_is_moved_with_the_mouse(visitor: Visitor, pair: Image.Image) -> None:
    visitor.choose(encoded(pair))
    playwright.expect(visitor.page.locator("#found .match")).to_have_count(12, timeout=15_000)
    visitor.drag((0.002, 0.2), (0.5, 0.99))  # anew, then by its corner
    visitor.drag((0.02, 0.24), (0.02, 0.03))
    visitor.sees(LARK)
    visitor.drag((0.25, 0.5), (0.751, 0.5))  # as a whole
    visitor.sees(COUPE)
    visitor.page.get_by_role("button", name="Whole photo").click()
    style = visitor.page.locator("#photo .box").get_attribute("style")
    assert style == "left: 0%; top: 0%; width: 100%; height: 100%;"


def test_the_box_that_was_found_is_shown_to_be_moved(
    browser: Any, search: VisualSearch, serve: Serve, own: list[bytes], tmp_path: Path
) -> None:
    record = replace(search.gallery.record, data=search.gallery.record.data | {"box": "auto"})
    assert isinstance(search.task, CarsTask)
    replace(search.gallery, record=record).save(tmp_path / "gallery", search.task)
    visitor = Visitor(browser.new_page(), serve(tmp_path / "gallery").port)
    box, whole = visitor.page.locator("#photo .box"), re.compile("width: 100%; height: 100%")
    visitor.choose(own[0])
    playwright.expect(box).not_to_have_attribute("style", whole, timeout=15_000)
    found = box.get_attribute("style")
    box.focus()
    visitor.page.keyboard.press("Shift+ArrowLeft")
    assert box.get_attribute("style") != found
    visitor.page.get_by_role("button", name="Whole photo").click()
    visitor.sees(LARK)
    playwright.expect(box).to_have_attribute("style", whole)
    visitor.page.locator("#found .match").nth(1).click()  # a box crop already: it stays whole
    playwright.expect(visitor.page.locator("#found .match").first.locator(".score")).to_have_text(
        "1.000", timeout=15_000
    )
    playwright.expect(box).to_have_attribute("style", whole)
    assert visitor.wrong == []


def test_the_box_is_moved_with_the_keyboard(visitor: Visitor, pair: Image.Image) -> None:
    visitor.choose(encoded(pair))
    playwright.expect(visitor.page.locator("#found .match")).to_have_count(12, timeout=15_000)
    visitor.page.locator("#photo .box").focus()
    playwright.expect(visitor.page.locator("#photo .keys")).to_be_visible()
    for _ in range(25):
        visitor.page.keyboard.press("Shift+ArrowLeft")
    visitor.sees(LARK)
    for _ in range(25):
        visitor.page.keyboard.press("ArrowRight")
    visitor.sees(COUPE)
    visitor.page.keyboard.press("Escape")
    assert "width: 100%" in visitor.page.locator("#photo .box").get_attribute("style")


def test_filters(visitor: Visitor, own: list[bytes]) -> None:
    visitor.choose(own[0])
    visitor.sees(LARK)
    known = visitor.page.locator("#found .verdict").text_content()
    for part, chosen, name in (("Make", "Dunmore", VAN), ("Make", "any", LARK), ("Year", "1997", CAB)):
        visitor.page.get_by_label(part, exact=True).click()
        visitor.page.get_by_role("option", name=chosen, exact=True).click()
        visitor.sees(name)
        assert visitor.page.locator("#found .verdict").text_content() == known
    visitor.page.get_by_label("Body", exact=True).click()
    visitor.page.get_by_role("option", name="Coupe", exact=True).click()
    visitor.is_told("The gallery holds no image with body Coupe, year 1997")


def test_results_and_examples_are_searched_with(visitor: Visitor, own: list[bytes]) -> None:
    visitor.choose(own[0])
    visitor.sees(LARK)
    last = visitor.page.locator("#found .match").last
    picture = last.locator("img").get_attribute("src")
    last.press("Enter")
    first = visitor.page.locator("#found .match img").first
    playwright.expect(first).to_have_attribute("src", picture, timeout=15_000)
    assert visitor.page.locator("#photo .photo").get_attribute("src") == picture
    visitor.page.locator("#examples .match").first.click()
    playwright.expect(first).not_to_have_attribute("src", picture, timeout=15_000)


@pytest.mark.parametrize(("kind", "target"), [("paste", "body"), ("drop", "#photo"), ("drop", "#found")])
def test_photos_are_pasted_and_dropped(kind: str, target: str, visitor: Visitor, own: list[bytes]) -> None:
    for data, name in ((own[2], COUPE), (own[1], VAN)):
        visitor.page.evaluate(HAND_OVER, [target, kind, base64.b64encode(data).decode()])
        visitor.sees(name)


def test_what_the_browser_cannot_decode(visitor: Visitor, own: list[bytes], search: VisualSearch) -> None:
    """It is shown when the server has decoded it; if that cannot either, no older photo stays in its place."""
    assert search.gallery.thumbnails is not None
    visitor.choose(own[0])
    visitor.sees(LARK)
    visitor.choose(b"no image", "broken.jpg")
    visitor.is_told("This file is not an image")
    assert not visitor.page.locator("#photo .stage").is_visible()
    assert visitor.page.locator("#photo .empty").is_visible()
    visitor.choose(encoded(search.gallery.thumbnails[125], "TIFF"), "photo.tif")
    visitor.sees(COUPE)
    assert visitor.page.locator("#photo .stage").is_visible()
    assert visitor.page.locator("#photo .photo").get_attribute("src").startswith("data:image/jpeg;base64,")
    assert visitor.page.locator("#photo .message").text_content() == ""
    visitor.drag((0.3, 0.3), (0.9, 0.9))
    assert "left: 30" in visitor.page.locator("#photo .box").get_attribute("style")


def test_files_that_are_too_large_stay_here(visitor: Visitor) -> None:
    visitor.choose(bytes(21 * 2**20), "large.bmp")
    playwright.expect(visitor.page.locator("#photo .message")).to_have_text(
        "large.bmp is too large (21 MB); use a photo of at most 20 MB."
    )
    assert visitor.page.locator("#found .match").count() == 0


def test_everybody_can_use_it(visitor: Visitor, own: list[bytes]) -> None:
    assert visitor.violations() == []
    visitor.choose(own[0])
    visitor.sees(LARK)
    assert visitor.violations() == []
    visitor.choose(b"no image", "broken.jpg")
    visitor.is_told("This file is not an image")
    assert visitor.violations() == []
