"""Galleries that grow and shrink. Each function returns a new gallery and leaves the given ones as they are.

Images keep their order, and new ones follow at the end. A class name keeps its label, also when its last image is
removed; new class names are appended.
"""

from collections.abc import Sequence
from dataclasses import replace
from fnmatch import translate
from re import compile as compile_pattern
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from carsfg.data.sources.source import class_key
from carsfg.errors import InputError, suggestion
from carsfg.retrieval.faiss_changes import with_vectors, without_vectors
from carsfg.retrieval.faiss_index import is_exact, make_index, reconstruct_all
from carsfg.retrieval.similarity import find_origin
from carsfg.search.build import choose_factory, tune
from carsfg.search.calibration import calibrate
from carsfg.search.contents import Contents
from carsfg.search.packed import Paths
from carsfg.search.roots import Roots
from carsfg.search.thumbnails import Thumbnails

if TYPE_CHECKING:
    from carsfg.search.gallery import Gallery

# An inverted file learns its lists, and a Euclidean index its origin, from the images that are there. At twice as many,
# half of the images were never seen, and lists are twice as long as in an index of all; learning anew at each doubling
# costs less in total than building the last index twice.
MAX_GROWTH = 2
OWN_IMAGES, OTHER_PHOTOS = "own images", "other photos"  # values of `calibrated_on`


def find_same(gallery: "Gallery", others: "Gallery") -> Tensor:
    """Return the place of each of M other images among all N + M, int64 (M,); -1 for new ones, see `Contents.find`.

    Args:
        gallery: of N images.
        others: gallery of the M images.
    """
    return contents_of(gallery).find(contents_of(others))


def contents_of(gallery: "Gallery") -> Contents:
    """Return the checksums of a gallery's images, all of them unknown if it has none.

    Args:
        gallery: of N images.
    """
    return Contents.unknown(len(gallery)) if gallery.contents is None else gallery.contents


def vectors_of(gallery: "Gallery") -> Tensor:
    """Return all embeddings of a gallery, float32 (N, D), as its index keeps them.

    Args:
        gallery: with an index of any kind.

    Raises:
        InputError: its index cannot give them back.
    """
    found = reconstruct_all(gallery.index)
    if found is None:
        kind = type(gallery.index).__name__
        raise InputError(f"this kind of index ({kind}) cannot give its embeddings back: index again")
    return found if gallery.origin is None else found + gallery.origin


def merge(gallery: "Gallery", others: "Gallery") -> "Gallery":
    """Return a gallery with the images of another one that are new to it.

    Args:
        gallery: whose settings, run record and class names stay.
        others: made by the same network, compared by the same metric.

    Raises:
        InputError: networks, widths or metrics differ, one of them has no class names, or the index of `others` cannot
            give its embeddings back.
    """
    check_same_kind(gallery, others)
    return append(gallery, others, vectors_of(others))


def check_same_kind(gallery: "Gallery", others: "Gallery") -> None:
    """Check that embeddings of two galleries can be compared.

    Args:
        gallery: whose network, width, metric and class names count.
        others: gallery of images to append.

    Raises:
        InputError: networks, widths or metrics differ, or one of them has no class names.
    """
    own, theirs = gallery.fingerprint or others.fingerprint, others.fingerprint or gallery.fingerprint
    if own != theirs:
        raise InputError(
            f"the galleries were made by different networks (fingerprints {own} and {theirs}): index the photos of the "
            "other one with the network of this one"
        )
    if gallery.width != others.width:
        raise InputError(f"the galleries are {gallery.width} and {others.width} wide: different networks made them")
    if gallery.metric != others.metric:
        raise InputError(
            f"the galleries are compared by {gallery.metric} and {others.metric}: index the photos of the other one "
            f"with --metric {gallery.metric}"
        )
    if bool(gallery.class_names) != bool(others.class_names):
        raise InputError("only one of the galleries has class names: their labels cannot be compared")


def append(gallery: "Gallery", others: "Gallery", vectors: Tensor) -> "Gallery":
    """Return a gallery with further images, but for those that are there already.

    Args:
        gallery: of N images.
        others: gallery of M images, with labels in its own class names.
        vectors: float32 (M, D), embeddings of the M images as `similarity.prepare` gives them.

    Raises:
        InputError: the index takes no further embeddings.
    """
    rows = (find_same(gallery, others) < 0).nonzero().flatten()
    if not len(rows):
        return replace(gallery)
    counts = (len(gallery), len(rows))
    class_names, labels = join_labels(gallery.class_names, others.class_names, others.labels[rows])
    new = vectors[rows] if gallery.origin is None else vectors[rows] - gallery.origin
    made = replace(
        gallery,
        index=with_vectors(gallery.index, new),
        labels=torch.cat([gallery.labels, labels]),
        paths=_join_paths(gallery, others, rows),
        class_names=class_names,
        thumbnails=_join_thumbnails(gallery, others, rows),
        attributes=gallery.attributes.join(others.attributes.take(rows), counts),
        contents=contents_of(gallery).join(contents_of(others).take(rows)),
        roots=roots_of(gallery).join(roots_of(others).take(rows)),
    )
    if len(made) > MAX_GROWTH * made.trained_on and _learns(made):
        made = reindex(made)
    return recalibrate(made)


def remove(gallery: "Gallery", places: Tensor) -> "Gallery":
    """Return a gallery without some of its images; the other ones are numbered from 0 again.

    Args:
        gallery: of N images.
        places: int64 (M,), of the images to remove, 0..N-1.

    Raises:
        InputError: a place does not exist, none of the images would be left, or this kind of index cannot shrink.
    """
    if len(places) and not (int(places.min()) >= 0 and int(places.max()) < len(gallery)):
        raise InputError(f"the gallery has images 0 to {len(gallery) - 1}: {places.tolist()[:5]} leave this range")
    kept = torch.ones(len(gallery), dtype=torch.bool)
    kept[places] = False
    rows = kept.nonzero().flatten()
    if not len(rows):
        raise InputError(f"no image of {len(gallery):,} would be left: delete the gallery's folder instead")
    pictures, taken = gallery.thumbnails, rows.numpy()
    made = replace(
        gallery,
        index=without_vectors(gallery.index, kept),
        labels=gallery.labels[rows],
        paths=Paths(Paths.of(gallery.paths).packed.take(taken)) if len(gallery.paths) else [],
        thumbnails=None if pictures is None else Thumbnails(pictures.packed.take(taken)),
        attributes=gallery.attributes.take(rows),
        contents=contents_of(gallery).take(rows),
        roots=roots_of(gallery).take(rows),
    )
    return recalibrate(made)


def matching(gallery: "Gallery", pattern: str) -> Tensor:
    """Return the places of the images of a class, or else of those whose path fits a pattern, int64 (M,).

    Args:
        gallery: of N images.
        pattern: class name, or a pattern of whole paths, in which `*` also stands for `/`.

    Raises:
        InputError: the image does not exist.
    """
    label = next((place for place, name in enumerate(gallery.class_names) if name == pattern), None)
    if label is not None:
        found = gallery.labels == label
    else:
        fits = compile_pattern(translate(pattern)).match
        found = torch.tensor([path == pattern or fits(path) is not None for path in gallery.paths], dtype=torch.bool)
    if not found.any():
        hint = suggestion(pattern, gallery.class_names)
        example = f"; paths are like {gallery.paths[0]!r}" if len(gallery.paths) else ""
        raise InputError(f"the gallery has no image of the class or with the path {pattern!r}{hint}{example}")
    return found.nonzero().flatten()


def reindex(gallery: "Gallery", factory: str | None = None) -> "Gallery":
    """Return a gallery whose index has learned from all its images, and is tuned as `carsfg index` does.

    Args:
        gallery: whose embeddings are indexed again.
        factory: FAISS's description of the index; by default that of the gallery, or what `choose_factory` says if it
            also chose that one.

    Raises:
        InputError: its index cannot give its embeddings back, or such an index cannot be built.
    """
    vectors = vectors_of(gallery)
    chosen = gallery.factory == choose_factory(gallery.trained_on or len(gallery))
    wanted = factory or (choose_factory(len(gallery)) if chosen else gallery.factory)
    origin = find_origin(vectors) if gallery.metric == "euclidean" else None
    index = make_index(vectors if origin is None else vectors - origin, wanted, gallery.metric)
    made = replace(gallery, index=index, origin=origin, factory=wanted, trained_on=len(gallery))
    if wanted != "Flat":
        tune(made, vectors)
    return made


def recalibrate(gallery: "Gallery") -> "Gallery":
    """Return a gallery whose known-car scores fit its images, if its own images gave them.

    Scores of other photos stay as they are, since their embeddings are not kept; so do those of an index that cannot
    give its embeddings back.

    Args:
        gallery: whose images have changed.
    """
    if gallery.calibrated_on != OWN_IMAGES:
        return gallery
    try:
        vectors = vectors_of(gallery)
    except InputError:
        return gallery
    return replace(gallery, calibration=calibrate(gallery, vectors, itself=True))


def join_labels(names: Sequence[str], others: Sequence[str], labels: Tensor) -> tuple[list[str], Tensor]:
    """Append the class names of further images that are new.

    Args:
        names: in label order; empty if there are labels alone.
        others: class names of the further images, in their own label order; `/` equals `-`, since no folder's name has
            a `/`. Those without an image are left out.
        labels: int64 (M,), of the further images, in `others`.

    Returns:
        All names, and the labels of the further images in them, int64 (M,).
    """
    known, joined, new = {class_key(name): label for label, name in enumerate(names)}, [*names], labels.clone()
    for label in sorted({*labels.tolist()}) if others else []:
        key = class_key(others[label])
        if key not in known:
            known[key] = len(joined)
            joined.append(others[label])
        new[labels == label] = known[key]
    return joined, new


def roots_of(gallery: "Gallery") -> Roots:
    """Return where the photos of a gallery lie, with a code for each image also if nothing is known.

    Args:
        gallery: of N images.
    """
    return gallery.roots if len(gallery.roots.codes) else Roots.unknown(len(gallery))


def _learns(gallery: "Gallery") -> bool:
    """Whether an index has learned from the images, keeps their embeddings, and so can learn anew."""
    return (gallery.metric == "euclidean" or "IVF" in gallery.factory) and is_exact(gallery.index)


def _join_paths(gallery: "Gallery", others: "Gallery", rows: Tensor) -> Sequence[str]:
    if not len(gallery.paths) and not len(others.paths):
        return []
    own, theirs = (Paths.of(one.paths, len(one)).packed for one in (gallery, others))
    return Paths(own.join(theirs.take(rows.numpy())))


def _join_thumbnails(gallery: "Gallery", others: "Gallery", rows: Tensor) -> Thumbnails | None:
    if gallery.thumbnails is None and others.thumbnails is None:
        return None
    own = gallery.thumbnails or Thumbnails.missing(len(gallery))
    theirs = others.thumbnails or Thumbnails.missing(len(others))
    return Thumbnails(own.packed.join(theirs.packed.take(rows.numpy())))
