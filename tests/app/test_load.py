"""Many concurrent clients: each gets its own answer, and memory does not grow."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from carsfg.search.engine import VisualSearch
from tests.app.client import Client, names, pictures, sent
from tests.app.conftest import Serve

pytestmark = pytest.mark.slow
THREADS, REQUESTS = 20, 200


@pytest.fixture
def fresh(serve: Serve) -> Client:
    """A new server without earlier requests."""
    return serve()


def test_two_hundred_requests_of_twenty_clients(fresh: Client, search: VisualSearch) -> None:
    """Each request sends an image of the gallery, which must find itself."""
    gallery = search.gallery
    own = gallery.thumbnails
    assert own is not None

    def answered(place: int) -> bool:
        page = fresh.ask(sent(own.jpeg(place), number=place, raw=place % 7 == 0))
        assert names(page)[0] == gallery.class_names[int(gallery.labels[place])], page[:300]
        assert pictures(page)[0] == own.jpeg(place)
        assert ('class="preview"' in page) == (place % 7 == 0)
        return f'data-number="{place}"' in page if place % 7 == 0 else len(names(page)) == 12

    with ThreadPoolExecutor(THREADS) as pool:
        assert all(pool.map(answered, range(50)))
        after_fifty = fresh.memory()
        assert all(pool.map(answered, range(50, REQUESTS)))
        growth = fresh.memory() / after_fifty - 1
    print(f"memory grew by {growth:.2%} of {after_fifty / 1024:.0f} MB")  # noqa: T201 - `pytest -s` shows it
    assert growth < 0.05


def test_memory_after_large_photos(fresh: Client, search: VisualSearch) -> None:
    """Uploads are not kept: 100 requests of 8 MB are 800 MB."""
    assert search.gallery.thumbnails is not None
    photo = search.gallery.thumbnails.jpeg(0)
    padded = sent(photo + bytes(6 * 2**20))
    with ThreadPoolExecutor(2) as pool:
        assert all(names(page) for page in pool.map(fresh.ask, [padded] * 50))
        after_fifty = fresh.memory()
        assert all(names(page) for page in pool.map(fresh.ask, [padded] * 100))
    assert fresh.memory() < 1.1 * after_fifty
