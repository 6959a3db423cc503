"""Whether images with boxes are whole photos or box crops already, by their sizes."""

from carsfg.data.cropped_images import CroppedImages
from carsfg.data.image_io import DECODE_ERRORS, upright_size


def holds_crops(photos: CroppedImages) -> bool:
    """Return whether the images are smaller than their boxes say, so that they are not the original photos.

    The images whose boxes reach furthest to the right and furthest down decide.

    Args:
        photos: images with boxes; they are not decoded.
    """
    if photos.boxes is None or not len(photos):
        return False
    for index in {int(photos.boxes[:, side].argmax()) for side in (2, 3)}:
        try:
            width, height = upright_size(photos.paths[index])
        except DECODE_ERRORS:
            continue  # reported when the image is decoded
        if int(photos.boxes[index, 2]) > width or int(photos.boxes[index, 3]) > height:
            return True
    return False
