"""Rows of `carsfg evaluate`: protocols, duplicates, and which intervals they have."""

import math
from dataclasses import replace

import pytest
import torch

from carsfg.evaluation.bootstrap import intervals, joint_intervals
from carsfg.evaluation.glossary import RANKED
from carsfg.evaluation.scores import (
    ALL,
    WITHOUT_DUPLICATES,
    Images,
    Row,
    evaluate_closed,
    evaluate_zero_shot,
    fit_probe,
)
from carsfg.retrieval.ranking import EmbeddedImages, search


def images(seed: int, count: int = 90, duplicates: int = 0) -> Images:
    draw = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 6
    points = torch.eye(6)[labels] + 0.5 * torch.randn(count, 6, generator=draw)
    places = torch.arange(count)
    return Images(EmbeddedImages(points, labels, places), labels, places < duplicates, places % 5 == 0)


def by_name(rows: list[Row]) -> dict[tuple[str, str, str], Row]:
    return {(row.images, row.protocol, row.score): row for row in rows}


def test_rows_of_a_network_that_knows_the_classes() -> None:
    train, test = images(0), images(1, 60)
    rows = by_name(evaluate_closed(train, test, "cosine", 3, 0.1))
    assert {key[0] for key in rows} == {ALL}
    official = [key[2] for key in rows if key[1] == "official"]
    assert official == ["head_top_1", "knn_3", "linear_probe"]
    assert rows[ALL, "official", "head_top_1"].value == 1
    for protocol, gallery in (("closed_train_gallery", train.embedded), ("closed_loo", None)):
        found = search(test.embedded, gallery, [1, 5, 10], [3], "cosine")
        for name in RANKED:
            row = rows[ALL, protocol, name]
            assert row.value == pytest.approx(found.metrics[name], abs=1e-12)
            assert row.low <= row.value <= row.high
            assert (row.queries, row.gallery) == (60, 90 if gallery else 59)
            assert row.resamples == (1000 if gallery else 400)


def test_a_network_without_a_head() -> None:
    train, test = (replace(images(seed, count), predicted=None) for seed, count in ((0, 90), (1, 60)))
    rows = by_name(evaluate_closed(train, test, "cosine", 3, 0.1))
    whole = by_name(evaluate_closed(images(0), images(1, 60), "cosine", 3, 0.1))
    assert rows == {key: row for key, row in whole.items() if key[2] != "head_top_1"}


def test_a_given_probe_is_scored() -> None:
    train, test = images(0), images(1, 60)
    probe = fit_probe(train, test, 0.1, classes=8)
    assert probe.weight.shape == (8, 6)
    wrong = replace(probe, bias=torch.arange(8).float() * 1000)
    rows = by_name(evaluate_closed(train, test, "cosine", 3, 0.1, probe=wrong))
    assert rows[ALL, "official", "linear_probe"].value == 0


@pytest.mark.parametrize("protocol", ["closed_train_gallery", "closed_loo", "zero_shot"])
def test_images_searched_among_themselves_are_resampled_as_both(protocol: str) -> None:
    train, test = images(0), images(1, 60)
    zero_shot = protocol == "zero_shot"
    rows = by_name(evaluate_zero_shot(test, "cosine") if zero_shot else evaluate_closed(train, test, "cosine", 3, 0.1))
    own = test.embedded
    found = search(own, train.embedded if protocol == "closed_train_gallery" else None, [1, 5, 10], [3], "cosine")
    values = torch.stack([found.by_query[name].double() for name in RANKED], 1)
    joint = joint_intervals(own.embeddings, own.labels, values, RANKED, "cosine")
    ends = intervals(values) if protocol == "closed_train_gallery" else joint
    for name, (_, low, high) in zip(RANKED, ends.T.tolist(), strict=True):
        row = rows[ALL, protocol, name]
        assert (row.low, row.high) == pytest.approx((low, high))


def test_all_scores_come_again_without_duplicates() -> None:
    rows = by_name(evaluate_closed(images(0, duplicates=7), images(1, 60, duplicates=2), "cosine", 3, 0.1))
    row = rows[WITHOUT_DUPLICATES, "closed_train_gallery", "map"]
    assert (row.queries, row.gallery) == (58, 83)
    assert {key[1:] for key in rows if key[0] == ALL} == {key[1:] for key in rows if key[0] == WITHOUT_DUPLICATES}


def test_nothing_to_find() -> None:
    alone = images(0, 6)
    row = by_name(evaluate_zero_shot(alone, "cosine"))[ALL, "zero_shot", "map"]
    assert (row.queries, row.left_out) == (0, 6)
    assert math.isnan(row.value)
    assert math.isnan(row.low)
