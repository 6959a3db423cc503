"""The methods of a gallery that grows and shrinks; `carsfg.search.growth` does the work."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

from carsfg.errors import InputError
from carsfg.retrieval.similarity import prepare
from carsfg.search.attributes import Attributes
from carsfg.search.contents import Contents
from carsfg.search.roots import Roots
from carsfg.search.thumbnails import Thumbnails

if TYPE_CHECKING:
    from carsfg.search.gallery import Gallery


class Growing:
    """Mix-in for `Gallery`: each method returns a new gallery and leaves the given ones as they are."""

    def add(
        self,
        embeddings: Tensor,
        labels: Tensor,
        paths: Sequence[str] = (),
        class_names: Sequence[str] = (),
        attributes: Attributes | None = None,
        thumbnails: Thumbnails | None = None,
        contents: Contents | None = None,
        roots: Roots | None = None,
    ) -> "Gallery":
        """Return a gallery with further images at its end; this one stays as it is.

        Images that are there already, by `contents`, are left out. See `carsfg.search.growth` for labels, for
        the index that learns anew at each doubling, and for the calibration.

        Args:
            embeddings: float (M, D), made by the same network.
            labels: int64 (M,), places in `class_names`.
            paths: file names, one per embedding.
            class_names: of the new images; by default those of the gallery.
            attributes: what is known of the M images besides their classes.
            thumbnails: pictures of the M images.
            contents: checksums and boxes of the M images; by default all images are new.
            roots: folders that the M paths begin at.

        Raises:
            InputError: numbers or widths differ, or an embedding is not finite or too large.
        """
        from carsfg.search.gallery import Gallery
        from carsfg.search.growth import append, check_same_kind

        own = cast("Gallery", self)
        if class_names and not own.class_names:
            raise InputError("the gallery has labels but no class names: add images with labels alone")
        names = list(class_names) or own.class_names
        if len(labels) and not (int(labels.min()) >= 0 and int(labels.max()) < (len(names) or 2**31)):
            raise InputError(f"labels leave the {len(names)} class names")
        others = Gallery.build(embeddings, labels, paths, names, own.metric)
        others.thumbnails, others.contents, others.roots = thumbnails, contents, roots or others.roots
        others.attributes = attributes or others.attributes
        check_same_kind(own, others)
        return append(own, others, prepare(embeddings, own.metric))

    def remove(self, places: Tensor | Sequence[int]) -> "Gallery":
        """Return a gallery without some of its images, whose places are 0..N-1 again; this one stays as it is.

        Args:
            places: of the images to remove.

        Raises:
            InputError: a place does not exist, no image would be left, or this kind of index cannot shrink.
        """
        from carsfg.search.growth import remove

        return remove(cast("Gallery", self), torch.as_tensor(places, dtype=torch.int64))

    def merge(self, others: "Gallery") -> "Gallery":
        """Return a gallery with the images of another one at its end, but for those that are there already.

        Args:
            others: made by the same network, compared by the same metric; it stays as it is, and so does this one.

        Raises:
            InputError: networks, widths or metrics differ, or one of them has no class names.
        """
        from carsfg.search.growth import merge

        return merge(cast("Gallery", self), others)
