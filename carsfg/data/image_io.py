"""The image decoder: training images, gallery images and queries are all read by `read_image`.

A file gives the same pixels wherever it is used: upright, transparency on white, 8 bits per channel, RGB.
"""

import io
import struct
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, TiffImagePlugin, UnidentifiedImageError, WebPImagePlugin

from carsfg.errors import InputError

try:
    from PIL import AvifImagePlugin  # Pillow 11.3 and newer
except ImportError:  # pragma: no cover
    READS_AVIF = False
else:
    READS_AVIF = AvifImagePlugin.SUPPORTED

DECODER_VERSION = 2  # raise it whenever a file may give other pixels than before: crop caches are then rebuilt
# what Pillow documents for bytes that are not an image, are cut off, or are a decompression bomb
DECODE_ERRORS = (OSError, SyntaxError, ValueError, struct.error, Image.DecompressionBombError)
# TIFF, WebP and AVIF are only registered once their plugins are imported; Pillow registers the others itself
FORMATS: tuple[str, ...] = (
    "JPEG",
    "PNG",
    "GIF",
    "BMP",
    TiffImagePlugin.TiffImageFile.format,
    WebPImagePlugin.WebPImageFile.format,
)
FORMATS = (*FORMATS, "AVIF") if READS_AVIF else FORMATS
UNREAD_FORMATS = {b"jP  ": "JPEG 2000", b"ftyphe": "HEIC", b"ftypmif1": "HEIC", b"ftypavif": "AVIF"}  # from byte 4 on
MAX_IMAGE_BYTES = 50 * 2**20  # of an image file
MAX_IMAGE_PIXELS = 100 * 10**6  # of an image; 300 MB decoded
ORIENTATION_TAG = 0x0112
UPRIGHT = {  # how to turn an image upright, by the value of the EXIF orientation; 1 is upright already
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PNG_CHUNKS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")  # the chunks that the pixels depend on
Box = tuple[int, int, int, int]
Shrink = Callable[[int, int], int]  # from the upright width and height of a file to the factor it is reduced by

# Filters for good: `warnings.catch_warnings` is not safe in threads, and images are decoded in threads.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)  # MAX_IMAGE_PIXELS is checked instead
warnings.filterwarnings("ignore", message="Corrupt EXIF data|Possibly corrupt EXIF data|Metadata Warning")


def read_image(source: str | Path | bytes, name: str | None = None, shrink: Shrink | None = None) -> Image.Image:
    """Decode an image file to RGB, 8 bits per channel.

    The image is turned upright by its EXIF orientation; transparent pixels are laid on white; channels of 16 or 32 bits
    are scaled to 8 bits; of an animation the first frame is taken. The format is recognised by the content, not by
    the file name. The result holds no metadata, such as where a photo was taken.

    Args:
        source: path of the file, or its bytes.
        name: name of the image in error messages; the path by default.
        shrink: takes the upright width and height of the file in pixels, and returns 1, 2, 4 or 8: a JPEG is decoded
            at 1 / that scale, which takes a fraction of the time. It may raise InputError. None: full size.

    Returns:
        RGB image of the file's (upright) size; that of a JPEG divided by the factor, rounded up.

    Raises:
        InputError: the file cannot be read, is not an image of a known format, is damaged, has pixels that are not
            finite numbers, or is larger than `MAX_IMAGE_BYTES` or `MAX_IMAGE_PIXELS`.
    """
    name = name or ("the photo" if isinstance(source, bytes) else str(source))
    data = source if isinstance(source, bytes) else read_bytes(source, name)
    if len(data) > MAX_IMAGE_BYTES:
        raise InputError(f"{name} is too large: at most {MAX_IMAGE_BYTES // 2**20} MB are read")
    try:
        return _decode(data, name, shrink)
    except InputError:
        raise
    except MemoryError:
        raise InputError(f"{name} does not fit into memory: make the image smaller") from None
    except Image.DecompressionBombError:
        raise InputError(f"{name} has too many pixels: {_limit()}") from None
    except UnidentifiedImageError:
        kind = next((kind for mark, kind in UNREAD_FORMATS.items() if data[4:16].startswith(mark)), None)
        if kind:
            raise InputError(f"{name} is a {kind} file, which is not read: convert it to JPEG or PNG") from None
        raise InputError(f"{name} is not an image: {', '.join(FORMATS)} files are read") from None
    except Exception as error:  # damaged files make Pillow raise many more kinds than DECODE_ERRORS
        raise InputError(f"{name} cannot be decoded, it is damaged or cut off ({error})") from error


def read_bytes(path: str | Path, name: str | None = None) -> bytes:
    """Read an image file, at most one byte more than `MAX_IMAGE_BYTES`, so that endless files can be refused.

    Args:
        path: encoded image file, such as a JPEG.
        name: name of the image in error messages; the path by default.

    Raises:
        InputError: the file cannot be read.
    """
    try:
        with Path(path).open("rb") as file:
            return file.read(MAX_IMAGE_BYTES + 1)
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read {name or path}: {getattr(error, 'strerror', None) or error}") from None


def upright_size(path: str | Path) -> tuple[int, int]:
    """Read width and height in pixels, as `read_image` gives them, from the head of an image file.

    Args:
        path: encoded image file, such as a JPEG.

    Raises:
        DECODE_ERRORS: any of these if the file is not an image.
    """
    with Image.open(path, formats=FORMATS) as image:
        return _upright(image)


def crop_photo(image: Image.Image, box: Box | None, name: str = "the photo") -> Image.Image:
    """Cut a box out of an upright image.

    Args:
        image: RGB photo of any size.
        box: `x0, y0, x1, y1` in pixels, half-open; None keeps the whole image.
        name: name of the image in error messages.

    Raises:
        InputError: the box is empty or leaves the image.
    """
    if box is None:
        return image
    check_box(box, image.size, name)
    return image.crop(box)


def check_box(box: Box, size: tuple[int, int], name: str = "the photo") -> None:
    """Check that a box lies in an image.

    Args:
        box: `x0, y0, x1, y1` in pixels, half-open.
        size: width and height of the image in pixels.
        name: name of the image in error messages.

    Raises:
        InputError: the box is empty or leaves the image.
    """
    (x0, y0, x1, y1), (width, height) = box, size
    if not (0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height):
        raise InputError(f"the box {x0},{y0},{x1},{y1} leaves {name} of {width} x {height} pixels")


def _decode(data: bytes, name: str, shrink: Shrink | None) -> Image.Image:
    try:
        image = _load(data, name, shrink)
    except DECODE_ERRORS:
        # long texts, large colour profiles or wrong checksums in a PNG do not affect its pixels
        bare = _pixels_of_png(data)
        if bare is None:
            raise
        image = _load(bare, name, shrink)
    turn = UPRIGHT.get(_orientation(image))
    image = _to_rgb(image, name)
    image = image if turn is None else image.transpose(turn)
    bare_image = Image.new("RGB", image.size)  # without metadata
    bare_image.paste(image)
    return bare_image


def _load(data: bytes, name: str, shrink: Shrink | None) -> Image.Image:
    image = Image.open(io.BytesIO(data), formats=FORMATS)
    if image.width * image.height > MAX_IMAGE_PIXELS:  # before it is decoded
        raise InputError(f"{name} has {image.width} x {image.height} pixels: {_limit()}")
    if shrink is not None:
        factor = shrink(*_upright(image))
        if factor > 1:
            image.draft(None, (image.width // factor, image.height // factor))
    image.load()
    return image


def _limit() -> str:
    return f"at most {MAX_IMAGE_PIXELS // 10**6} million are read"


def _upright(image: Image.Image) -> tuple[int, int]:
    width, height = image.size
    return (height, width) if _orientation(image) >= 5 else (width, height)


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 to 8; 1 if the image has none or its EXIF block is damaged."""
    try:
        value = image.getexif().get(ORIENTATION_TAG, 1)
        return value if value in UPRIGHT else 1
    except Exception:  # damaged blocks make Pillow raise AttributeError, TypeError, OverflowError and others
        return 1


def _pixels_of_png(data: bytes) -> bytes | None:
    """Return a PNG file with only the chunks that its pixels depend on; None if that leaves nothing out."""
    if not data.startswith(PNG_SIGNATURE):
        return None
    kept, place = [PNG_SIGNATURE], len(PNG_SIGNATURE)
    while place < len(data):
        length, kind = int.from_bytes(data[place : place + 4], "big"), data[place + 4 : place + 8]
        chunk = data[place : place + length + 12]  # length, kind, content, checksum
        # an undamaged orientation is kept, too
        sound_exif = kind == b"eXIf" and zlib.crc32(chunk[4:-4]).to_bytes(4, "big") == chunk[-4:]
        if kind in PNG_CHUNKS or sound_exif:
            kept.append(chunk)
        place += len(chunk)
    bare = b"".join(kept)
    return bare if len(bare) < len(data) else None


def _to_rgb(image: Image.Image, name: str) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":  # one channel of 16 or 32 bits
        image = Image.fromarray(_to_eight_bits(image, name))
    if "transparency" in image.info or image.mode in ("RGBA", "LA", "PA", "RGBa", "La"):
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")


def _to_eight_bits(image: Image.Image, name: str) -> npt.NDArray[np.uint8]:
    """Scale a deep grey image to 8 bits; Pillow's own conversion cuts values off at 255.

    White is the largest value of the narrowest range that holds all pixels: 1 (floating point only), 255, 65535, else
    the image's own maximum. Negative values become black.
    """
    values = np.asarray(image)
    if values.dtype == np.int32 and image.format == "TIFF" and _is_unsigned(image):
        values = values.view(np.uint32)
    if not np.isfinite(values).all():
        raise InputError(f"{name} has pixels that are not finite numbers (NaN or infinity): convert it to 8 bits")
    largest = float(values.max())
    ranges = ([1.0] if values.dtype.kind == "f" else []) + [255.0, 65535.0]
    white = next((white for white in ranges if largest <= white), largest)
    return (values.astype(np.float64).clip(0, white) * (255 / white)).round().astype(np.uint8)


def _is_unsigned(image: Image.Image) -> bool:
    """Whether a TIFF file holds unsigned integers; Pillow reads 32 bits as signed in any case."""
    tags = getattr(image, "tag_v2", {})
    return tuple(tags.get(TiffImagePlugin.SAMPLEFORMAT, (1,)))[:1] == (1,)
