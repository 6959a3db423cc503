"""Input: batches off the cache and augmented batches, against an image folder and transforms on single images."""

from collections.abc import Iterable
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from carsfg.data.augmentation import RECIPES
from carsfg.data.batches import CropSamples
from carsfg.data.gpu_loader import ResidentLoader, upload
from carsfg.data.sampler import EpochSampler
from carsfg.data.stanford_cars_datamodule import StanfordCarsDataModule
from carsfg.data.stanford_cars_dataset import StanfordCars
from carsfg.models.preprocess import IMAGENET_MEAN, IMAGENET_STD, Preprocess
from carsfg.synthetic.dataset import DrawnCars
from tests.benchmarks.conftest import Pair

pytestmark = pytest.mark.measure
SIZE, PHOTO = 224, (700, 480)  # what the network sees; about the median size of Stanford Cars' photos
SPEC = DrawnCars(classes=4, train=64, test=2)
RIVAL = "Pillow decode + transforms.v2 on each of the same crops"


@pytest.fixture(scope="module")
def cars(tmp_path_factory: pytest.TempPathFactory) -> StanfordCarsDataModule:
    root = tmp_path_factory.mktemp("cars")
    data = StanfordCarsDataModule(str(root), drawn=SPEC, image_size=SIZE, val="none", augment="crop_flip_rotate")
    data.prepare_data()
    data.setup("fit")
    return data


def folder_of(cars: StanfordCarsDataModule, target: Path, size: tuple[int, int], crop: bool) -> Path:
    """The same cars as JPEG files of a given size in a folder a class, as ImageFolder wants them."""
    dataset = StanfordCars(cars.root, "train", crop=crop)
    for index in range(len(dataset)):
        place = target / f"{int(dataset.labels[index]):03}"
        place.mkdir(parents=True, exist_ok=True)
        dataset.load(index).resize(size, Image.Resampling.BICUBIC).save(place / f"{index}.jpg", quality=90)
    return target


def drain(batches: Iterable[object]) -> None:
    for _ in batches:
        pass


def test_batches_off_the_cache(cars: StanfordCarsDataModule, pair: Pair, tmp_path: Path) -> None:
    transform = v2.Compose([v2.Resize((SIZE, SIZE)), v2.PILToTensor()])
    folder = ImageFolder(folder_of(cars, tmp_path, PHOTO, crop=False), transform)
    theirs = DataLoader(folder, 32, num_workers=0)
    ours = cars._loader(cars.splits.train)
    rival = "ImageFolder, Pillow decode + resize of 700 x 480 photos"
    pair("uint8 batches off the cache", rival, "5x", lambda: drain(ours), lambda: drain(theirs))


def photographs(cars: StanfordCarsDataModule, folder: Path) -> DataLoader[object]:
    """The rival: each crop decoded by Pillow, augmented and normalised on its own."""
    normalise = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(IMAGENET_MEAN, IMAGENET_STD)]
    augment = [v2.Resize(256), v2.RandomCrop(SIZE), v2.RandomHorizontalFlip()]
    rotate = v2.RandomRotation(15, interpolation=v2.InterpolationMode.BILINEAR)
    images = ImageFolder(folder_of(cars, folder, (SIZE, SIZE), crop=True), v2.Compose([*augment, rotate, *normalise]))
    return DataLoader(images, 32, num_workers=0)


def test_augmented_batches(cars: StanfordCarsDataModule, pair: Pair, tmp_path: Path) -> None:
    theirs, ours, preprocess = photographs(cars, tmp_path), cars.train_dataloader(), Preprocess(SIZE)

    def normalised() -> None:
        for batch in ours:
            preprocess(batch["image"])

    pair("augmented float batches, CPU", RIVAL, "1.5x", normalised, lambda: drain(theirs))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_augmented_batches_on_a_gpu(cars: StanfordCarsDataModule, pair: Pair, tmp_path: Path) -> None:
    device = torch.device("cuda")
    samples = CropSamples(cars.caches, cars.labels, cars.splits.train, RECIPES["crop_flip_rotate"])
    ours = ResidentLoader(upload(cars.caches, device), samples, 32, EpochSampler(samples, shuffle=True))
    theirs, preprocess = photographs(cars, tmp_path), Preprocess(SIZE).to(device)

    def normalised() -> None:
        for batch in ours:
            preprocess(batch["image"])
        torch.cuda.synchronize()

    pair("augmented float batches, GPU", RIVAL, "20x", normalised, lambda: drain(theirs))
