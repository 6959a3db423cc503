"""Export of a task as one ONNX graph, preprocessing included, for programs without PyTorch."""

import json
import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

import carsfg
from carsfg.errors import InputError
from carsfg.files import replacing
from carsfg.tasks.base import CarsTask
from carsfg.tasks.fingerprint import fingerprint

MAX_DIFFERENCE = 1e-4  # between graph and checkpoint, of any logit or embedding value


class _Graph(nn.Module):
    """Returns the outputs of a task as a tuple, since ONNX outputs have an order."""

    def __init__(self, task: CarsTask) -> None:
        super().__init__()
        self.task = task

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        out = self.task(image)
        return tuple(out[name] for name in outputs(self.task))


def outputs(task: CarsTask) -> list[str]:
    """Return the names of the outputs of a graph, in its order; without a head there are no logits.

    Args:
        task: network that becomes the graph.
    """
    return ["logits", "embedding"] if task.has_head else ["embedding"]


def export_onnx(task: CarsTask, path: str | Path) -> float:
    """Write a task as ONNX, with input `image`, uint8 RGB (B, 3, H, W) of any size, and the outputs of `outputs`.

    Before the file is moved to its place, onnxruntime runs the graph on random images of three sizes, and the outputs
    are compared with the task's. Metadata: `class_names` (JSON), `image_size`, `fingerprint`, and the version `carsfg`.

    Args:
        task: in eval mode, on the CPU.
        path: of the file to write.

    Returns:
        The largest absolute difference between graph and task.

    Raises:
        InputError: the extra `export` is not installed, the file cannot be written, or graph and task differ.
    """
    try:
        import onnx
        import onnxruntime
        import onnxscript  # noqa: F401 - torch's exporter needs it
    except ImportError as error:
        raise InputError(f"exporting needs {error.name}: python -m pip install -e '.[export]'") from None
    try:
        with replacing(path) as beside:
            _write(task, beside)
            model = onnx.load(beside)
            onnx.helper.set_model_props(model, _facts(task))
            onnx.save(model, beside)
            difference = _compare(task, onnxruntime.InferenceSession(beside, providers=["CPUExecutionProvider"]))
            if not difference <= MAX_DIFFERENCE:
                raise InputError(
                    f"the ONNX graph differs from the checkpoint by {difference:.1e}, more than {MAX_DIFFERENCE}: "
                    "not kept"
                )
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}") from error
    except torch.onnx.OnnxExporterError as error:
        said = str(error.__cause__ or error).partition("\n")[0]
        raise InputError(f"torch cannot export {task.hparams.get('backbone', 'this network')} ({said})") from error
    return difference


def _write(task: CarsTask, path: Path) -> None:
    size = task.preprocess.image_size
    example = torch.zeros(2, 3, size + 9, size + 7, dtype=torch.uint8)
    free = torch.export.Dim.DYNAMIC
    for name in ("torch.onnx", "onnxscript"):
        logging.getLogger(name).setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            _Graph(task),
            (example,),
            path,
            input_names=["image"],
            output_names=outputs(task),
            dynamic_shapes=({0: free, 2: free, 3: free},),
            dynamo=True,
            external_data=False,
            verbose=False,
        )


def _facts(task: CarsTask) -> dict[str, str]:
    return {
        "class_names": json.dumps(task.class_names),
        "image_size": str(task.preprocess.image_size),
        "fingerprint": fingerprint(task),
        "carsfg": carsfg.__version__,
    }


@torch.no_grad()
def _compare(task: CarsTask, session: Any) -> float:
    """Return the largest difference on random images of the network's size, of a larger and of a smaller one."""
    size, random = task.preprocess.image_size, np.random.default_rng(0)
    worst = 0.0
    for height, width in ((size, size), (2 * size + 5, size + 11), (max(1, size // 2), size)):
        images: npt.NDArray[np.uint8] = random.integers(0, 256, (3, 3, height, width), np.uint8)
        expected = task(torch.from_numpy(images))
        for name, values in zip(outputs(task), session.run(None, {"image": images}), strict=True):
            worst = max(worst, float(np.abs(values - expected[name].numpy()).max()))
    return worst
