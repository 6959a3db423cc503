"""The page: a photo on one side, what was found on the other."""

import asyncio
import logging
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when gradio is imported: nothing leaves the machine

import gradio as gr
import numpy as np

from carsfg.app.requests import ANY, Answers
from carsfg.app.results import EMPTY, complaint, data_url
from carsfg.search.engine import VisualSearch
from carsfg.search.thumbnails import encode
from carsfg.synthetic.catalogue import MOST, car_model
from carsfg.synthetic.scene import draw_scene

WORKERS, QUEUE, SECONDS = 2, 64, 20.0  # photos at a time, that may wait, and that one may take
EXAMPLES = 6
MANY = 24  # choices of a filter, above which one may type to find them
STYLE = """
body, gradio-app { background: #f8fafc !important; }
.gradio-container { max-width: 1280px !important; }
h1 { font-size: 26px; margin: 8px 0 0; color: #0f172a; }
footer { display: none !important; }
#filters .form, #filters .block { border: 0; background: none; box-shadow: none; }
#filters { padding: 0 12px; }
#filters .block, #filters .wrap, #filters .wrap-inner { padding: 0; background: none; border: 0; box-shadow: none; }
#filters .form { gap: 8px; }
#filters span { color: #0f172a; }
#filters .secondary-wrap { background: #fff; border: 1px solid #475569; border-radius: 8px; padding: 4px 8px; }
#filters .secondary-wrap:focus-within { outline: 3px solid #1d4ed8; outline-offset: -3px; }
#found [data-testid=status-tracker]:not(.hide)::after { content: "Searching \\2026"; position: sticky; top: 12px;
  background: #1d4ed8; color: #fff; border-radius: 8px; padding: 8px 20px; font-weight: 600;
  animation: wait 1s alternate infinite; }
#found [data-testid=status-tracker] > * { display: none; }
@keyframes wait { to { opacity: .6; } }
"""
SCRIPT = "() => document.body.classList.remove('dark')"  # the page has one set of colours


def build_page(search: VisualSearch) -> gr.Blocks:
    """Lay out the page of a gallery.

    Args:
        search: network and gallery.
    """
    answers, pool = Answers(search), ThreadPoolExecutor(WORKERS, "carsfg")

    async def answer(sent: str | None, make: str, body: str, year: str) -> str:
        work = partial(answers.answer, sent, make, body, year)
        try:
            return await asyncio.wait_for(asyncio.get_running_loop().run_in_executor(pool, work), SECONDS)
        except TimeoutError:
            return complaint(f"This took longer than {SECONDS:.0f} seconds: try again, or a smaller photo.")
        except Exception:
            logging.getLogger(__name__).exception("a photo could not be answered")
            return complaint("This went wrong here, not with you: try another photo. The server's log says more.")

    page = gr.Blocks(title="carsfg: find the most similar cars", analytics_enabled=False)
    with page:
        gr.HTML(f"<h1>Which car is this?</h1><p>{escape(_about(search))}</p>", elem_id="about")
        with gr.Row():
            with gr.Column(scale=2, min_width=320):
                photo = _component("photo", elem_id="photo", label="Photo")
                with gr.Row(elem_id="filters"):
                    filters = [_choices(search, part) for part in ("make", "body", "year")]
            with gr.Column(scale=3, min_width=320):
                found = _component("results", elem_id="found", html="${value}", value=EMPTY)
        _component("results", elem_id="examples", html="${value}", value=_examples(search))
        inputs, outputs = [photo, *filters], [found]
        photo.search(answer, inputs, outputs, api_name="search", show_progress_on=[found], trigger_mode="always_last")
        for one in filters:
            one.change(answer, inputs, outputs, api_visibility="private", show_progress_on=[found])
    page.queue(max_size=QUEUE, default_concurrency_limit=WORKERS)
    page.state_session_capacity = 1  # of so many sessions gradio keeps what they sent last
    return page


def theme() -> gr.themes.Base:
    """Return a theme whose fonts lie on every machine."""
    return gr.themes.Base(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])


def _component(name: str, html: str | None = None, **kwargs: Any) -> gr.HTML:
    """Make a component of the files of that name beside this one."""
    folder = Path(__file__).parent
    template = html or (folder / f"{name}.html").read_text(encoding="utf-8")
    style, script = ((folder / f"{name}.{kind}").read_text(encoding="utf-8") for kind in ("css", "js"))
    return gr.HTML(html_template=template, css_template=style, js_on_load=script, apply_default_css=False, **kwargs)


def _about(search: VisualSearch) -> str:
    gallery = search.gallery
    size = f"{len(gallery):,} images of {len(gallery.class_names)} models"
    return f"Drop a photo of a car, and see which of {size} are most similar to it."


def _choices(search: VisualSearch, part: str) -> gr.Dropdown:
    found = {getattr(car, part) for car in search.cars} - {None, ""}
    choices = [ANY, *map(str, sorted(found))]
    return gr.Dropdown(
        choices,
        value=ANY,
        label=part.capitalize(),
        scale=2 if part == "make" else 1,
        min_width=90,
        filterable=len(choices) > MANY,
    )


def _examples(search: VisualSearch) -> str:
    """Return pictures to begin with: drawn ones if the gallery is drawn, else some of its own."""
    gallery = search.gallery
    if gallery.stamp.get("data") == "drawn cars":
        jpegs = _drawn(gallery.class_names)
    elif gallery.thumbnails is not None:
        places = np.linspace(0, len(gallery) - 1, min(EXAMPLES, len(gallery))).astype(int).tolist()
        jpegs = [gallery.thumbnails.jpeg(place) for place in places]
    else:
        return ""
    cards = "".join(
        f'<li><button type="button" class="match" aria-label="Example {number}">'
        f'<img src="{data_url(jpeg)}" alt=""></button></li>'
        for number, jpeg in enumerate(jpegs, 1)
    )
    return f'<h2>Or try one of these</h2><ol class="matches">{cards}</ol>'


def _drawn(names: Sequence[str]) -> list[bytes]:
    """Draw new pictures of models that the gallery has."""
    models = [model for model in map(car_model, range(MOST)) if model.name in set(names)][:EXAMPLES]
    scenes = (draw_scene(model, 0, np.random.default_rng((99, place))) for place, model in enumerate(models))
    return [encode(picture.convert("RGB")) for picture, _ in scenes]
