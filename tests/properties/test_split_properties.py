from collections import defaultdict

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from carsfg.data.photo_splits import TEST_SHARE, assign_test
from carsfg.data.splits import HOLDOUT_SHARE, Rows, cluster, holdout, split
from tests.properties.strategies import few

# label, digest and group of each image; few digests and groups, so that many images belong together
images = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 25).map("d{}".format), st.sampled_from(["", "", "a", "b", "c"])),
    min_size=1,
    max_size=40,
)
Images = list[tuple[int, str, str]]


def _columns(rows: Images) -> tuple[Rows, list[str], list[str]]:
    return np.array([row[0] for row in rows]), [row[1] for row in rows], [row[2] for row in rows]


@few
@given(images, st.integers(0, 3))
def test_what_belongs_together_stays_on_one_side(rows: Images, seed: int) -> None:
    labels, digests, groups = _columns(rows)
    parts = assign_test(labels, digests, cluster(digests, groups), seed)
    for names in (digests, groups):
        sides = defaultdict(set)
        for name, part in zip(names, parts, strict=True):
            sides[name].add(part)
        assert all(len(found) == 1 for name, found in sides.items() if name)


@few
@given(images, st.integers(0, 3), st.sampled_from([HOLDOUT_SHARE, TEST_SHARE, 0.5]))
def test_the_size_of_a_hold_out(rows: Images, seed: int, share: float) -> None:
    """Each class keeps an image; it gives its share or less, or else its smallest cluster."""
    labels, digests, groups = _columns(rows)
    clusters = cluster(digests, groups)
    held = holdout(labels, digests, clusters, seed, share)
    for label in set(labels.tolist()):
        own = labels == label
        whole = [c for c in set(clusters[own].tolist()) if (labels[clusters == c] == label).all()]
        smallest = min((int((clusters == c).sum()) for c in whole), default=0)
        assert (own & ~held).any()
        assert (own & held).sum() <= max(1, round(share * own.sum()), smallest)
        movable = len(set(clusters[own].tolist())) > 1 and whole
        assert (own & held).any() == bool(movable)


@few
@given(st.data(), images, st.integers(0, 3))
def test_neither_order_nor_names_matter(data: st.DataObject, rows: Images, seed: int) -> None:
    """The docstring of `holdout`: neither the order of images and classes nor their names matter."""
    order = data.draw(st.permutations(range(len(rows))))
    rename = data.draw(st.permutations(range(4)))
    labels, digests, groups = _columns(rows)
    held = holdout(labels, digests, cluster(digests, groups), seed)
    other_labels = np.array([rename[labels[row]] for row in order])
    other_digests, other_groups = [digests[row] for row in order], [groups[row] * 2 for row in order]
    again = holdout(other_labels, other_digests, cluster(other_digests, other_groups), seed)
    count = {True: sorted(zip(other_digests, again.tolist(), strict=True)),
             False: sorted(zip(digests, held.tolist(), strict=True))}  # fmt: skip
    assert count[True] == count[False]


@few
@given(images, st.sampled_from(["official", "zero_shot"]), st.sampled_from(["holdout", "test", "none"]))
def test_the_splits_of_a_protocol_share_no_image(rows: Images, protocol: str, val: str) -> None:
    labels, digests, groups = _columns(rows)
    clusters = cluster(digests, groups)
    made = split(protocol, val, labels, digests, assign_test(labels, digests, clusters, 0), 0, clusters)  # type: ignore[arg-type]
    held = made.val if val == "holdout" and made.val is not None else made.train[:0]
    together = np.concatenate([made.train, held, made.test])
    assert sorted(together.tolist()) == list(range(len(rows)))
    if protocol == "official":
        assert not set(clusters[held].tolist()) & set(clusters[made.train].tolist())
