"""Settings in which records differ."""

from carsfg.report.differences import MAX_CHARACTERS, describe, describe_unlike, differing_keys, short_names, values
from tests.report.conftest import record_of


def test_equal_records_do_not_differ() -> None:
    assert differing_keys([record_of("a"), record_of("b", seed=3, hardware="a GPU", versions="carsfg 9")]) == []


def test_common_settings_come_first() -> None:
    one = record_of("a", lr=0.1, max_epochs=9, callbacks={"my.Smoothing": {"decay": 0.9}})
    assert differing_keys([record_of("a"), one]) == ["task.lr", "trainer.max_epochs", "callbacks.Smoothing"]


def test_arguments_of_a_callback_differ_only_between_runs_that_have_it() -> None:
    some = [record_of("a", callbacks={"my.Smoothing": {"decay": decay, "device": None}}) for decay in (0.9, 0.99)]
    assert differing_keys(some) == ["callbacks.Smoothing.decay"]
    assert differing_keys([record_of("a"), *some]) == ["callbacks.Smoothing", "callbacks.Smoothing.decay"]


def test_consequences_are_shown_only_if_nothing_else_differs() -> None:
    assert differing_keys([record_of("a"), record_of("a", split_hash="x")]) == ["data.split_hash"]
    assert differing_keys([record_of("a"), record_of("a", split_hash="x", val="none")]) == ["data.val"]


def test_what_most_have_is_not_named() -> None:
    records = [record_of("a"), record_of("a", val="none"), record_of("a", lr=0.1), record_of("a", lr=0.1)]
    assert [describe_unlike(one, records) for one in records] == ["lr 0.001", "val none, lr 0.001", "lr 0.1", "lr 0.1"]
    assert describe_unlike(records[0], records[:3]) == ""


def test_short_names() -> None:
    assert short_names(["task.weight_decay", "callbacks.Stage.epochs", "callbacks.Size.epochs"]) == {
        "task.weight_decay": "weight decay",
        "callbacks.Stage.epochs": "callbacks.Stage.epochs",
        "callbacks.Size.epochs": "callbacks.Size.epochs",
    }


def test_one_batch_is_not_a_share_of_one() -> None:
    key = "trainer.limit_test_batches"
    batches, share = (record_of("a", limit_test_batches=limit) for limit in (1, 1.0))
    assert differing_keys([batches, share]) == [key]
    assert [values(one, [key])[key] for one in (batches, share)] == ["1", "1.0"]


def test_values_as_text() -> None:
    one = record_of("a", lr=1e-5, freeze="backbone", weights="x" * 99, callbacks={"my.Smoothing": {"sizes": [1, 2]}})
    keys = ["task.lr", "task.freeze", "weights", "callbacks.Smoothing.sizes", "task.none"]
    lr, freeze, weights, sizes, none = values(one, keys).values()
    assert (lr, freeze, sizes, none) == ("1e-05", "backbone", "[1, 2]", "")
    assert weights == "x" * (MAX_CHARACTERS - 1) + "…"
    assert describe(one, ["task.lr", "callbacks.Smoothing", "task.none"]) == "lr 1e-05, Smoothing"
