"""`carsfg export`: a checkpoint as an ONNX file."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from carsfg.commands.options import option, parse, positional
from carsfg.commands.outputs import check_file


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """Write the network of a checkpoint as an ONNX file, with its preprocessing.

    Attributes:
        checkpoint: file that `carsfg fit` wrote.
        output: the file to write.
    """

    checkpoint: str = positional("file that `carsfg fit` wrote")
    output: str | None = option("file to write; by default CHECKPOINT's name with .onnx, in the working folder", None)


def main(args: Sequence[str]) -> int:
    """Run `carsfg export`.

    Args:
        args: the words after `carsfg export`.

    Returns:
        0.

    Raises:
        InputError: the arguments are wrong, the checkpoint cannot be read, or the file cannot be written.
    """
    options = parse("export", ExportOptions, args)
    output = check_file(options.output or f"{Path(options.checkpoint).stem}.onnx")
    from carsfg.tasks.checkpoints import load
    from carsfg.tasks.onnx_export import export_onnx

    difference = export_onnx(load(options.checkpoint), output)
    size = output.stat().st_size / 2**20
    print(f"{output}: {size:.1f} MB; image (uint8 RGB, B x 3 x H x W) in, logits and embedding out")  # noqa: T201
    print(f"differs from the checkpoint by at most {difference:.1e} (onnxruntime, random images of three sizes)")  # noqa: T201
    return 0
