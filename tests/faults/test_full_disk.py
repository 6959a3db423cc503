"""A full disk: one line that names the file, and what was there before is still there.

A limit on the size of files stands for it, which needs no privileges; one test fills a real file system.
"""

import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from carsfg.cli import main
from carsfg.search.gallery import Gallery
from tests.faults.children import error_line, limited, needs_fork, run
from tests.faults.conftest import Verb, write_photo

pytestmark = needs_fork
TOO_LARGE = "File too large"  # the system's words for the limit
MARKERS = "<!-- carsfg report: Table 2 -->\n<!-- end -->\n"
Files = dict[str, bytes]


def contents(folder: Path) -> Files:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def full(work: Callable[[], int], largest: int = 0) -> tuple[int, str]:
    """Run a command that cannot write files of more bytes; return its exit code and its error."""
    code, said = run(limited(resource.RLIMIT_FSIZE, largest, work))
    return code, error_line(said)


@pytest.mark.parametrize(
    ("words", "file"),
    [
        (["predict", "NETWORK", "photos", "--output=out/p.csv", "--overwrite"], "out/p.csv"),
        (["embed", "NETWORK", "photos", "--output=out/e.npy", "--overwrite"], "out/e.npy"),
        (["embed", "NETWORK", "photos", "--output=out/e.parquet", "--overwrite"], "out/e.parquet"),
        (["search", "cars", "photos/Astra/0.png", "--output=out/s.png"], "out/s.png"),
        (["data", "check", "photos", "--sheet=out/sheet.png"], "out/sheet.png"),
    ],
)
def test_a_file_that_a_verb_writes(words: list[str], file: str, folder: Path, network: Path, gallery: Path) -> None:
    assert gallery.is_dir()
    Path("out").mkdir()
    words = [str(network) if word == "NETWORK" else word for word in words]
    words += [] if words[0] == "data" else ["--device=cpu"]
    assert run(lambda: main(words))[0] == 0
    before = contents(folder / "out")
    code, line = full(lambda: main(words))
    assert code == 2
    assert f"cannot write '{file}'" in line
    assert TOO_LARGE in line
    assert contents(folder / "out") == before


def test_a_gallery(folder: Path, network: Path, gallery: Path) -> None:
    before = contents(gallery)
    write_photo(Path("more/Golf/9.png"), 9)
    new = ["index", str(network), "photos", "--output=new", "--device=cpu"]
    for words in (new, ["index", "cars", "--add=more", "--device=cpu"]):
        for largest in (0, 500, 3000):
            code, line = full(lambda words=words: main(words), largest)  # type: ignore[misc]
            assert code == 2
            assert "cannot write a gallery to " in line
            assert line.endswith((TOO_LARGE, "the disk is full, or the file is too large for it"))
    assert contents(gallery) == before
    assert len(Gallery.load(gallery, verify=True)) == 8
    assert not Path("new").exists()
    assert not list(folder.glob(".writing-*"))


def test_the_scores_and_the_report_of_a_run(folder: Path, root: Path, fit: Verb) -> None:
    assert fit("--name=done", "--trainer.max_epochs=1") == 0
    (checkpoint,) = Path("lightning_logs/small/done/checkpoints").glob("*.ckpt")
    Path("e.json").write_text("old")
    Path("README.md").write_text(f"mine\n{MARKERS}")
    report = ["report", "--output=page", "--update_readme=README.md"]
    assert main(report) == 0
    Path("README.md").write_text(f"mine\n{MARKERS}")
    page = contents(folder / "page")
    code, line = full(lambda: main(["evaluate", str(checkpoint), "--json=e.json", f"--data.root={root}"]))
    assert (code, line) == (2, f"carsfg: error: cannot write 'e.json': {TOO_LARGE}")
    assert Path("e.json").read_text() == "old"
    assert full(lambda: main(report)) == (2, f"carsfg: error: cannot write the report: page/index.html: {TOO_LARGE}")
    assert contents(folder / "page") == page
    assert Path("README.md").read_text() == f"mine\n{MARKERS}"


def test_a_training(fit: Verb) -> None:
    """It ends with the way to go on; a run that is resumed in vain keeps its config and its checkpoint."""
    assert fit("--name=begun", "--trainer.max_epochs=1", "--test_after_fit=false") == 0
    made = Path("lightning_logs/small/begun")
    config, weights = (made / "config.yaml").read_text(), contents(made / "checkpoints")
    resume = ["fit", f"--resume={made}", "--trainer.max_epochs=2"]
    code, line = full(lambda: main(resume))
    assert (code, TOO_LARGE in line) == (1, True)
    assert line.endswith(f"; free space, then resume it: carsfg fit --resume {made}")
    assert ((made / "config.yaml").read_text(), contents(made / "checkpoints")) == (config, weights)
    code, line = full(lambda: main(resume), 9000)
    assert code == 1
    assert "within-epoch=1-step=5.ckpt: the disk is full, or the file is too large for it; free space and" in line
    assert contents(made / "checkpoints") == weights
    assert main(resume) == 0


def test_a_run_that_could_not_begin_is_not_to_be_resumed(fit: Verb) -> None:
    assert fit("--trainer.max_epochs=1", "--test_after_fit=false") == 0  # makes the cache
    code, line = full(lambda: fit("--name=new"))
    assert (code, line.endswith("; free space, then start it again")) == (1, True)
    code, said = run(lambda: fit("--name=new"))
    assert code in (0, 2)
    assert code == 0 or "holds no run to resume: use another --name, or delete it" in error_line(said)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 kB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = shutil.which("mount")
    options = ["-t", "tmpfs", "-o", "size=256k", "tmpfs", str(place)]
    if mount is None or subprocess.run([mount, *options], capture_output=True, check=False).returncode:
        pytest.skip("only the superuser may mount a small file system")
    yield place
    subprocess.run([str(shutil.which("umount")), "--lazy", str(place)], check=True)


def fill(path: Path) -> None:
    """Write a file until the disk is full."""
    with path.open("wb", 0) as file, suppress(OSError):
        while file.write(bytes(4096)):
            pass


def test_a_file_system_that_is_full(small_disk: Path, network: Path, fit: Verb) -> None:
    full = "No space left on device"
    fill(small_disk / "filling")
    for words in (
        ["index", str(network), "photos", f"--output={small_disk / 'cars'}", "--device=cpu"],
        ["predict", str(network), "photos", f"--output={small_disk / 'p.csv'}", "--device=cpu"],
        ["embed", str(network), "photos", f"--output={small_disk / 'e.npy'}", "--device=cpu"],
    ):
        code, text = run(lambda words=words: main(words))  # type: ignore[misc]
        assert (code, full in error_line(text)) == (2, True)
    code, text = run(lambda: fit(f"--trainer.default_root_dir={small_disk}", "--test_after_fit=false"))
    assert code in (1, 2)
    assert full in error_line(text)
    code, text = run(lambda: fit(f"--data.cache_dir={small_disk}", "--model.image_size=64"))
    assert code == 2
    assert "the crop cache cannot be written to" in error_line(text)
    left = {path.name.partition(".")[0] for path in small_disk.rglob("*") if path.is_file()}
    assert left <= {"filling", "events", "hparams", "metrics"}  # of TensorBoard and Lightning
