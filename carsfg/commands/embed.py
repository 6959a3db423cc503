"""`carsfg embed`: the embeddings of photos or of a gallery as a file for other programs."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from carsfg.commands.embed_options import EmbedOptions
from carsfg.commands.options import check_counts, parse
from carsfg.commands.outputs import check_file
from carsfg.errors import InputError

if TYPE_CHECKING:
    from carsfg.search.arrow import EmbeddedTable


def main(args: Sequence[str]) -> int:
    """Run `carsfg embed`.

    Args:
        args: the words after `carsfg embed`.

    Returns:
        0, also if some images could not be read: they are listed on stderr.

    Raises:
        InputError: the arguments are wrong, or checkpoint, gallery, images or output cannot be used.
    """
    options = parse("embed", EmbedOptions, args)
    check_counts(options, "batch_size")
    _check_output(options)  # before it takes minutes
    if Path(options.source).is_dir():
        options.check_gallery()
        table = _of_gallery(options.source)
        complaints: list[str] = []
    else:
        table, complaints = _of_photos(options)
    table.write(options.output)
    _report(options.output, table, complaints)
    return 0


def _check_output(options: EmbedOptions) -> None:
    """Refuse an output that cannot be written, or that would be lost.

    Raises:
        InputError: its suffix is unknown, its folder does not exist, it exists and `--overwrite` was not given, it is
            the table of the photos, or pyarrow is missing.
    """
    from carsfg.search.arrow import check_suffix, files_of, import_pyarrow

    path = check_suffix(options.output)
    for file in files_of(path):
        if options.photos is not None and file.resolve() == Path(options.photos).resolve():
            raise InputError(f"{file} is the table that the photos are read from: name another file by --output")
        if check_file(str(file)).exists() and not options.overwrite:
            raise InputError(f"{file} exists: add --overwrite to replace it, or name another file by --output")
    if path.suffix == ".parquet":
        import_pyarrow()


def _of_gallery(folder: str) -> "EmbeddedTable":
    """Read what a gallery holds; say so if it is not exact."""
    from carsfg.search.arrow import EmbeddedTable
    from carsfg.search.gallery import Gallery

    gallery = Gallery.load(folder, mmap=True)
    table = EmbeddedTable.of(gallery)
    if not table.facts["exact"]:
        print(  # noqa: T201
            f"these embeddings are approximate: the gallery's index ({type(gallery.index).__name__}) compresses them; "
            "`carsfg embed CHECKPOINT PHOTOS` writes exact ones",
            file=sys.stderr,
        )
    return table


def _of_photos(options: EmbedOptions) -> "tuple[EmbeddedTable, list[str]]":
    """Embed the images of a folder or table as `carsfg index` does; also return what could not be read."""
    from carsfg.commands.index_options import Settings
    from carsfg.commands.photo_embedder import PhotoEmbedder, say_use
    from carsfg.hardware import find_device
    from carsfg.search.arrow import EmbeddedTable
    from carsfg.tasks.checkpoints import load_with_record

    if options.photos is None:
        raise InputError(f"{options.source!r} is not the folder of a gallery: name the photos after the checkpoint")
    device = find_device(options.device)
    task, record = load_with_record(options.source, device, options.weights)
    use = Settings.choose(options.as_index(), record, task, device)
    photos = use.find_photos(options.photos, options.data, options.split)
    say_use(record, use, photos)
    embedder = PhotoEmbedder.choose(options.as_index(), photos, photos.folder, task, record, use)
    embedded = embedder.embed(photos)
    left_out = [photos.source.left_out] if photos.source.left_out else []
    table = EmbeddedTable.of_photos(photos, embedded, use.metric, embedder.gallery_record, task)
    return table, [*left_out, *embedded.complaints]


def _report(output: str, table: "EmbeddedTable", complaints: list[str]) -> None:
    """Print what was left out, and what was written."""
    from carsfg.search.arrow import EMBEDDING, LABEL, PATH, files_of

    for complaint in complaints:
        print(f"left out: {complaint}", file=sys.stderr)  # noqa: T201
    files = " and ".join(map(str, files_of(Path(output))))
    length = " of length 1" if table.facts["metric"] == "cosine" else ""
    names = ", ".join([PATH, LABEL, *table.named_attributes, EMBEDDING])
    print(f"{files}: {len(table):,} embeddings{length}, {table.embeddings.shape[1]} wide; columns {names}")  # noqa: T201
