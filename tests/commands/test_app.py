"""`carsfg app`: mistakes are one line before anything is loaded, and Ctrl-C ends it."""

import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from carsfg.cli import main
from carsfg.commands.app import clean_environment
from carsfg.search.gallery import Gallery
from carsfg.tasks.cnn import CarCNN
from tests.conftest import NAMES


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> str:
    torch.manual_seed(0)
    task, folder = CarCNN(class_names=NAMES, widths=[4, 8], image_size=32).eval(), tmp_path_factory.mktemp("app")
    Gallery.build(torch.randn(6, 8), torch.arange(6) % 4, class_names=NAMES).save(folder / "cars", task)
    Gallery.build(torch.randn(6, 8), torch.arange(6) % 4, class_names=NAMES).save(folder / "bare")
    return str(folder / "cars")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "the following arguments are required: gallery; see `carsfg app --help`"),
        (["nowhere"], "no gallery in nowhere: `carsfg index` and `carsfg predict` write them"),
        (["BARE"], "bare holds no network: name its checkpoint"),
        (["GALLERY", "--checkpoint=nowhere.ckpt"], "no checkpoint nowhere.ckpt"),
        (["GALLERY", "--device=toaster"], "device 'toaster' is not available on this machine"),
        (["GALLERY", "--port=many"], "port 'many' is not an integer"),
        (["GALLERY", "--port=99999"], "port 99999 must be 1 to 65535"),
        (["GALLERY", "--port=-1"], "port -1 must be 1 to 65535"),
        (["GALLERY", "--port=0"], "port 0 must be 1 to 65535"),
        (["GALLERY", "--host=no.such.host.invalid"], "): use another --port or --host"),
    ],
)
def test_mistakes_are_one_line(
    words: list[str],
    said: str,
    gallery: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    given = {"GALLERY": gallery, "BARE": gallery.replace("cars", "bare")}
    assert main(["app", *[given.get(word, word) for word in words]]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert said in err
    assert err.count("\n") == 1


def test_a_port_that_is_taken(gallery: str, capfd: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert main(["app", gallery, f"--port={port}"]) == 2
    err = capfd.readouterr().err
    assert err.startswith(f"carsfg: error: cannot listen on 127.0.0.1:{port} (")
    assert err.endswith("): use another --port or --host\n")


def test_the_settings_of_the_page_are_the_options_alone() -> None:
    environment = {"GRADIO_ROOT_PATH": "/x", "GRADIO_TEMP_DIR": "/proc/x", "all_proxy": "socks5://127.0.0.1:1080"}
    environment |= {"HTTPS_PROXY": "http://127.0.0.1:1", "SSL_CERT_FILE": "/gone.pem", "HOME": "/home/me", "PROXY": "1"}
    said = "ignored: GRADIO_ROOT_PATH, GRADIO_TEMP_DIR; see `carsfg app --help` for the settings of the page"
    assert clean_environment(environment) == said
    assert environment == {"HOME": "/home/me", "PROXY": "1"}
    environment = {"all_proxy": "socks5://127.0.0.1:1080"}
    assert clean_environment(environment) == ""  # the page fetches nothing: there is nothing to say


@pytest.mark.slow
def test_without_gradio(gallery: str) -> None:
    code = (
        "import sys; sys.modules['gradio'] = None; from carsfg.cli import main; sys.exit(main(['app', *sys.argv[1:]]))"
    )
    words = [sys.executable, "-c", code, gallery, "--port=47861"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "carsfg: error: gradio is missing: python -m pip install -e '.[app]'\n"


@pytest.mark.slow
def test_ctrl_c_ends_it(gallery: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
    words = [sys.executable, "-m", "carsfg", "app", gallery, f"--port={port}", "--device=cpu"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == f"open http://127.0.0.1:{port} in a browser; Ctrl-C ends it\n"
        for _ in range(300):
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                time.sleep(0.1)
        running.send_signal(signal.SIGINT)
        _, err = running.communicate(timeout=60)
    assert (running.returncode, err) == (0, "")


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from carsfg.cli import main; main(['app', '--help']); print({'torch', 'gradio'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "--host HOST" in done.stdout
    assert done.stdout.endswith("set()\n")
