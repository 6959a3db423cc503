"""Any photo a person may have, as upright 8-bit RGB; what is no photo ends in one sentence."""

import io
import struct
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, TiffImagePlugin, UnidentifiedImageError, WebPImagePlugin

from carsfg.errors import InputError

# what Pillow raises for bytes that are no image, a cut-off one, or a decompression bomb
DECODE_ERRORS = (OSError, SyntaxError, ValueError, struct.error, Image.DecompressionBombError)
# others have decoders that photos do not need; those two are registered by importing them, the rest by Pillow itself
FORMATS = ("JPEG", "PNG", "GIF", "BMP", TiffImagePlugin.TiffImageFile.format, WebPImagePlugin.WebPImageFile.format)
MOST_BYTES = 50 * 2**20  # of a file
MOST_PIXELS = 100 * 10**6  # of an image: 300 MB decoded
TAKEN = f"photos of up to {MOST_PIXELS // 10**6} million are taken"
Box = tuple[int, int, int, int]


def read_photo(source: str | Path | bytes, name: str | None = None) -> Image.Image:
    """Decode a photo: turned upright by its EXIF data, the first frame of several, transparency on white.

    Files are known by their content, not by their name.

    Args:
        source: a file's path, or its bytes.
        name: what to call it in a complaint; by default its path.

    Returns:
        An RGB image, of the photo's size.

    Raises:
        InputError: there is no such file, it is no image of a known format, it is damaged, or it is too large.
    """
    name = name or ("the photo" if isinstance(source, bytes) else str(source))
    data = source if isinstance(source, bytes) else _read(Path(source), name)
    if len(data) > MOST_BYTES:
        raise InputError(f"{name} is too large: photos of up to {MOST_BYTES // 2**20} MB are taken")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the limit below is ours
            image = Image.open(io.BytesIO(data), formats=FORMATS)
            _check_size(image, name)
            image.load()
            upright = _as_rgb(ImageOps.exif_transpose(image))
            bare = Image.new("RGB", upright.size)  # without where and by whom it was taken
            bare.paste(upright)
            return bare
    except Image.DecompressionBombError:
        raise InputError(f"{name} has too many pixels: {TAKEN}") from None
    except UnidentifiedImageError:
        raise InputError(f"{name} is no image: photos are {', '.join(FORMATS)} files") from None
    except DECODE_ERRORS as error:
        raise InputError(f"{name} cannot be decoded, it is damaged or cut off ({error})") from error


def crop_photo(image: Image.Image, box: Box | None, name: str = "the photo") -> Image.Image:
    """Cut a box `x0, y0, x1, y1`, in pixels and half-open, out of an upright photo; None leaves it whole.

    Args:
        image: the photo.
        box: what to keep of it.
        name: what to call the photo in a complaint.

    Raises:
        InputError: the box is empty or leaves the image.
    """
    if box is None:
        return image
    x0, y0, x1, y1 = box
    if not (0 <= x0 < x1 <= image.width and 0 <= y0 < y1 <= image.height):
        raise InputError(f"the box {x0},{y0},{x1},{y1} leaves {name} of {image.width} x {image.height} pixels")
    return image.crop(box)


def _read(path: Path, name: str) -> bytes:
    """Read a file; of one without end, no more than is needed to refuse it."""
    try:
        with path.open("rb") as file:
            return file.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read {name}: {getattr(error, 'strerror', None) or error}") from None


def _check_size(image: Image.Image, name: str) -> None:
    """Refuse a decompression bomb before it is decoded."""
    if image.width * image.height > MOST_PIXELS:
        raise InputError(f"{name} has {image.width} x {image.height} pixels: {TAKEN}")


def _as_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":  # 16 bits a channel, or more
        image = _to_eight_bits(image)
    if "transparency" in image.info or image.mode in ("RGBA", "LA", "PA", "RGBa", "La"):
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")


def _to_eight_bits(image: Image.Image) -> Image.Image:
    """Scale a deep greyscale image by its own bit depth; Pillow itself would cut everything off at 255."""
    values = np.asarray(image).astype(np.float64)
    most = 255.0 if values.max() <= 255 else 65535.0 if values.max() <= 65535 else float(values.max())
    return Image.fromarray((values.clip(0, most) * (255 / most)).round().astype(np.uint8))
