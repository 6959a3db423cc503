"""Reading untrusted files: a damaged file raises ValueError, and no file fills the memory."""

import json
import zipfile
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt


def parse_json(text: str | bytes) -> Any:
    """Parse JSON.

    Args:
        text: of a file; bytes are UTF-8.

    Raises:
        ValueError: it is not JSON, is not UTF-8, or is nested too deeply.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def load_array(path: Path, mmap_mode: Literal["r", "c"] = "r") -> npt.NDArray[Any]:
    """Map a `.npy` file: its header is compared with the size of the file, and nothing is read into memory.

    Args:
        path: file that `numpy.save` wrote.
        mmap_mode: `r` read-only; `c` pages are copied if they are written to.

    Raises:
        OSError: it cannot be opened.
        ValueError: it is damaged, or something else than an array of numbers.
    """
    try:
        array = np.load(path, mmap_mode=mmap_mode, allow_pickle=False)
    except OSError:
        raise
    except Exception as error:  # the header is parsed as Python: TokenError, SyntaxError, OverflowError and others
        raise ValueError(f"it is not a whole .npy file: {error}") from error
    if not isinstance(array, np.ndarray):  # an archive of several
        raise ValueError("it is not a .npy file")
    return array


def check_archive(path: str | Path) -> None:
    """Refuse a ZIP archive that would be larger in memory than on disk; other files pass.

    PyTorch and NumPy store the parts of their files without compression.

    Args:
        path: file that `torch.save` or `numpy.savez` wrote.

    Raises:
        OSError: it cannot be opened.
        ValueError: a part is compressed, or parts overlap.
    """
    with Path(path).open("rb") as file:
        if file.read(4) != b"PK\x03\x04":
            return
        size = Path(path).stat().st_size
        try:
            with zipfile.ZipFile(file) as archive:
                parts = archive.infolist()
        except Exception as error:  # BadZipFile, struct.error, NotImplementedError and others
            raise ValueError(f"it is damaged: {error}") from error
    if any(part.compress_type != zipfile.ZIP_STORED for part in parts) or sum(part.file_size for part in parts) > size:
        raise ValueError("its parts are larger than the file")
