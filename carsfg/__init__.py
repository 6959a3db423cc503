"""Fine-grained car classification and retrieval on Stanford Cars, with PyTorch Lightning.

The public names are imported on first use, so that `import carsfg` and `carsfg --help` cost next to nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"

if TYPE_CHECKING:
    from carsfg.callbacks.faiss_retrieval import FaissRetrieval as FaissRetrieval
    from carsfg.cli import main as main
    from carsfg.data.datamodule import CarsDataModule as CarsDataModule
    from carsfg.data.photo_datamodule import PhotoDataModule as PhotoDataModule
    from carsfg.data.stanford_cars_datamodule import StanfordCarsDataModule as StanfordCarsDataModule
    from carsfg.data.stanford_cars_dataset import StanfordCars as StanfordCars
    from carsfg.errors import InputError as InputError
    from carsfg.run_record import RunRecord as RunRecord
    from carsfg.search.engine import VisualSearch as VisualSearch
    from carsfg.search.gallery import Gallery as Gallery
    from carsfg.tasks.base import CarsTask as CarsTask
    from carsfg.tasks.checkpoints import load as load
    from carsfg.tasks.classifier import CarClassifier as CarClassifier
    from carsfg.tasks.cnn import CarCNN as CarCNN
    from carsfg.tasks.embedder import EmbeddingExtractor as EmbeddingExtractor

_HOME = {
    "CarsDataModule": "carsfg.data.datamodule",
    "CarsTask": "carsfg.tasks.base",
    "InputError": "carsfg.errors",
    "RunRecord": "carsfg.run_record",
    "CarCNN": "carsfg.tasks.cnn",
    "CarClassifier": "carsfg.tasks.classifier",
    "EmbeddingExtractor": "carsfg.tasks.embedder",
    "FaissRetrieval": "carsfg.callbacks.faiss_retrieval",
    "Gallery": "carsfg.search.gallery",
    "PhotoDataModule": "carsfg.data.photo_datamodule",
    "StanfordCars": "carsfg.data.stanford_cars_dataset",
    "StanfordCarsDataModule": "carsfg.data.stanford_cars_datamodule",
    "VisualSearch": "carsfg.search.engine",
    "load": "carsfg.tasks.checkpoints",
    "main": "carsfg.cli",
}

__all__ = [
    "CarCNN",
    "CarClassifier",
    "CarsDataModule",
    "CarsTask",
    "EmbeddingExtractor",
    "FaissRetrieval",
    "Gallery",
    "InputError",
    "PhotoDataModule",
    "RunRecord",
    "StanfordCars",
    "StanfordCarsDataModule",
    "VisualSearch",
    "__version__",
    "load",
    "main",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'carsfg' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
