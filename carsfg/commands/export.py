"""`carsfg export`: a checkpoint as an ONNX file."""

from pathlib import Path

from carsfg.commands.parsing import OneLineParser
from carsfg.errors import InputError


def main(args: list[str]) -> int:
    """Run `carsfg export ARGS`.

    Args:
        args: the words after `carsfg export`.

    Returns:
        0.

    Raises:
        InputError: the arguments are wrong, the checkpoint cannot be read, or the file cannot be written.
    """
    parser = OneLineParser(prog="carsfg export", description="Write a checkpoint as ONNX, preprocessing included.")
    parser.add_argument("checkpoint", help="written by `carsfg fit`")
    parser.add_argument("output", help="the .onnx file to write")
    try:
        options = parser.parse_args(args)
    except SystemExit as end:  # argparse, after --help
        return int(end.code or 0)
    if not Path(options.output).parent.is_dir():
        raise InputError(f"cannot write {options.output}: there is no such folder")
    from carsfg.tasks.checkpoints import load
    from carsfg.tasks.onnx_export import export_onnx

    difference = export_onnx(load(options.checkpoint), options.output)
    size = Path(options.output).stat().st_size / 2**20
    print(f"{options.output}: {size:.1f} MB; image (uint8 RGB, B x 3 x H x W) in, logits and embedding out")  # noqa: T201
    print(f"agrees with the checkpoint to {difference:.1e} (onnxruntime, random images of three sizes)")  # noqa: T201
    return 0
