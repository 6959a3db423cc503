"""`carsfg export`: a checkpoint as an ONNX file."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from carsfg.commands.options import NETWORK, PretrainedWeights, option, parse, positional
from carsfg.commands.outputs import check_file


@dataclass(frozen=True, kw_only=True)
class ExportOptions(PretrainedWeights):
    """Write the network of a checkpoint as an ONNX file, with its preprocessing.

    Attributes:
        checkpoint: file that `carsfg fit` wrote, or the name of a pretrained network.
        output: the file to write.
    """

    checkpoint: str = positional(NETWORK)
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
    name = Path(options.checkpoint.rpartition(":")[2]).stem  # of a pretrained network without timm: or torchvision:
    output = check_file(options.output or f"{name}.onnx")
    from carsfg.tasks.checkpoints import load
    from carsfg.tasks.onnx_export import export_onnx, outputs

    task = load(options.checkpoint, weights=options.weights)
    difference = export_onnx(task, output)
    size = output.stat().st_size / 2**20
    print(f"{output}: {size:.1f} MB; image (uint8 RGB, B x 3 x H x W) in, {' and '.join(outputs(task))} out")  # noqa: T201
    print(f"differs from the checkpoint by at most {difference:.1e} (onnxruntime, random images of three sizes)")  # noqa: T201
    return 0
