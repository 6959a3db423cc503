"""The search page: the photo on one side, the results on the other."""

import asyncio
import logging
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # must be set before gradio is imported: no data leaves the machine

import gradio as gr
import numpy as np

from carsfg.app.requests import ANY, Answers
from carsfg.app.results import EMPTY, data_url, error_html
from carsfg.run_record import DRAWN_CARS
from carsfg.search.engine import VisualSearch
from carsfg.search.thumbnails import encode
from carsfg.synthetic.catalogue import MODEL_COUNT, car_model
from carsfg.synthetic.scene import draw_scene

SEARCH_THREADS = 2
MAX_QUEUED_REQUESTS = 64
TIMEOUT_S = 20.0  # of one search
EXAMPLE_COUNT = 6
MAX_CHOICES_WITHOUT_TYPING = 24  # a filter with more choices gets a text field
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
SCRIPT = "() => document.body.classList.remove('dark')"  # the page has no dark mode


def build_page(search: VisualSearch) -> gr.Blocks:
    """Build the page for a gallery.

    Args:
        search: gallery and the network that embedded it.
    """
    answers, pool = Answers(search), ThreadPoolExecutor(SEARCH_THREADS, "carsfg")

    async def answer(sent: str | None, *chosen: str) -> str:
        work = partial(answers.answer, sent, *chosen)
        try:
            return await asyncio.wait_for(asyncio.get_running_loop().run_in_executor(pool, work), TIMEOUT_S)
        except TimeoutError:
            return error_html(f"the search took longer than {TIMEOUT_S:.0f} seconds; try again or use a smaller photo")
        except Exception:
            logging.getLogger(__name__).exception("search failed")
            return error_html("internal error; try another photo (details are in the server log)")

    page = gr.Blocks(title="carsfg: find the most similar cars", analytics_enabled=False)
    with page:
        gr.HTML(f"<h1>Which car is this?</h1><p>{escape(_about(search))}</p>", elem_id="about")
        with gr.Row():
            with gr.Column(scale=2, min_width=320):
                photo = _component("photo", elem_id="photo", label="Photo")
                with gr.Row(elem_id="filters", visible=bool(answers.filters)):
                    filters = [_choices(name, values) for name, values in answers.filters.items()]
            with gr.Column(scale=3, min_width=320):
                found = _component("results", elem_id="found", html="${value}", value=EMPTY)
        _component("results", elem_id="examples", html="${value}", value=_examples(search))
        inputs, outputs = [photo, *filters], [found]
        photo.search(answer, inputs, outputs, api_name="search", show_progress_on=[found], trigger_mode="always_last")
        for one in filters:
            one.change(answer, inputs, outputs, api_visibility="private", show_progress_on=[found])
    page.queue(max_size=MAX_QUEUED_REQUESTS, default_concurrency_limit=SEARCH_THREADS)
    # gradio keeps the last inputs of this many sessions; with 1, uploads are not retained
    page.state_session_capacity = 1
    return page


def theme() -> gr.themes.Base:
    """Return a theme that uses system fonts only, so that no font is downloaded."""
    return gr.themes.Base(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])


def _component(name: str, html: str | None = None, **kwargs: Any) -> gr.HTML:
    """Create a component from the HTML, CSS and JavaScript files of that name in this folder."""
    folder = Path(__file__).parent
    template = html or (folder / f"{name}.html").read_text(encoding="utf-8")
    style, script = ((folder / f"{name}.{kind}").read_text(encoding="utf-8") for kind in ("css", "js"))
    return gr.HTML(html_template=template, css_template=style, js_on_load=script, apply_default_css=False, **kwargs)


def _about(search: VisualSearch) -> str:
    gallery = search.gallery
    size = f"{len(gallery):,} images of {len(gallery.class_names)} classes"
    return f"Drop a photo of a car to find the most similar of {size}."


def _choices(name: str, values: Sequence[str]) -> gr.Dropdown:
    return gr.Dropdown(
        [ANY, *values],
        value=ANY,
        label=name[:1].upper() + name[1:],
        min_width=90,
        filterable=len(values) >= MAX_CHOICES_WITHOUT_TYPING,
    )


def _examples(search: VisualSearch) -> str:
    """Return the HTML of example photos: new drawn cars for a gallery of drawn cars, else images of the gallery."""
    gallery = search.gallery
    kind = ""
    if gallery.record.data_name == DRAWN_CARS:
        kind = " data-scene"  # a whole photo, in which the car is to be found
        jpegs = _drawn_examples(gallery.class_names)
    elif gallery.thumbnails is not None:
        places = np.linspace(0, len(gallery) - 1, min(EXAMPLE_COUNT, len(gallery))).astype(int).tolist()
        jpegs = [gallery.thumbnails.jpeg(place) for place in places]
    else:
        return ""
    cards = "".join(
        f'<li><button type="button" class="match" aria-label="Example {number}">'
        f'<img src="{data_url(jpeg)}" alt=""{kind}></button></li>'
        for number, jpeg in enumerate(jpegs, 1)
    )
    return f'<h2>Or try one of these</h2><ol class="matches">{cards}</ol>'


def _drawn_examples(names: Sequence[str]) -> list[bytes]:
    """Draw new images, as JPEG files, of models whose class names are given."""
    models = [model for model in map(car_model, range(MODEL_COUNT)) if model.name in set(names)][:EXAMPLE_COUNT]
    scenes = (draw_scene(model, 0, np.random.default_rng((99, place))) for place, model in enumerate(models))
    return [encode(picture.convert("RGB")) for picture, _ in scenes]
