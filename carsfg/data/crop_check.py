"""Whether the images of Stanford Cars are whole photos or box crops already, by their sizes."""

from carsfg.data.image_io import DECODE_ERRORS, upright_size
from carsfg.data.stanford_cars_dataset import StanfordCars


def holds_crops(cars: StanfordCars) -> bool:
    """Return whether the images are smaller than their boxes say, so that they are not the original photos.

    The images whose boxes reach furthest to the right and furthest down decide.

    Args:
        cars: one split; the images are not decoded.
    """
    if not len(cars):
        return False
    for index in {int(cars.boxes[:, side].argmax()) for side in (2, 3)}:
        try:
            width, height = upright_size(cars.paths[index])
        except DECODE_ERRORS:
            continue  # reported when the image is decoded
        if int(cars.boxes[index, 2]) > width or int(cars.boxes[index, 3]) > height:
            return True
    return False
