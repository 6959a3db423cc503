"""Differences between run records: which keys, under which names."""

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

from carsfg.run_record import RunRecord

# not part of the recipe, or shown in columns of their own
ELSEWHERE = (
    "experiment", "seed", "hardware", "versions", "scored_images", "task.class_path", "task.backbone", "task.freeze",
    "data.name",
)  # fmt: skip
# follow from other keys; shown only if nothing else differs
CONSEQUENCES = (
    "weights_sha256", "data.split_hash", "data.classes", "data.train_images", "data.test_images", "data.class_path",
)  # fmt: skip
FIRST = (
    "data.protocol", "data.val", "task.image_size", "task.lr", "data.batch_size", "trainer.max_epochs",
    "task.optimizer", "data.augment", "weights", "task.dropout", "task.weight_decay", "trainer.precision",
)  # fmt: skip
MAX_DIFFERENCES = 4  # in `describe_unlike`
MAX_CHARACTERS = 60  # of a value


def differing_keys(records: Sequence[RunRecord]) -> list[str]:
    """Return the keys of `RunRecord.flat` whose values differ, the most common hyper-parameters first.

    A key that some records lack differs only if the others have several values, except for callbacks: one that is used
    in some runs only is a difference.

    Args:
        records: any number of records.
    """
    flats = [record.flat() for record in records]
    keys = dict.fromkeys(key for flat in flats for key in flat if key not in ELSEWHERE)
    found = [key for key in keys if _differs(key, flats)]
    if "task.image_size" in found and all(flat.get("data.image_size") == flat["task.image_size"] for flat in flats):
        found.remove("data.image_size")
    found = [key for key in found if key not in CONSEQUENCES] or found
    return sorted(found, key=lambda key: FIRST.index(key) if key in FIRST else len(FIRST))


def short_names(keys: Sequence[str]) -> dict[str, str]:
    """Return the last part of each key in words, such as `batch size`; the whole key if two have the same last part.

    Args:
        keys: dotted keys, such as `data.batch_size`.
    """
    last = {key: key.rpartition(".")[2] for key in keys}
    count = Counter(last.values())
    return {key: (part if count[part] == 1 else key).replace("_", " ") for key, part in last.items()}


def values(record: RunRecord, keys: Sequence[str]) -> dict[str, str]:
    """Return the values of keys as text; empty if the record lacks the key.

    Args:
        record: configuration of one run.
        keys: dotted keys of `RunRecord.flat`.
    """
    flat = record.flat()
    return {key: _text(flat[key]) if key in flat else "" for key in keys}


def describe(record: RunRecord, keys: Sequence[str]) -> str:
    """Return keys with their values as text, such as `lr 0.01, batch size 8, EMAWeightAveraging`.

    Keys without a value are left out.

    Args:
        record: configuration of one run.
        keys: dotted keys of `RunRecord.flat`.
    """
    names, flat = short_names(keys), record.flat()
    shown = {key: value for key, value in values(record, keys).items() if flat.get(key) is not None}
    return ", ".join(names[key] if _is_callback(key) else f"{names[key]} {value}" for key, value in shown.items())


def describe_unlike(record: RunRecord, others: Sequence[RunRecord]) -> str:
    """Return the settings that differ, without those that a record shares with more than half of all.

    Args:
        record: configuration of the run to label, among `others`.
        others: the records it is compared with.
    """
    keys = differing_keys(others)
    own, shown = values(record, keys), [values(other, keys) for other in others]
    rare = [key for key in keys if 2 * sum(one[key] == own[key] for one in shown) <= len(others)]
    return describe(record, rare[:MAX_DIFFERENCES])


def _differs(key: str, flats: Sequence[dict[str, Any]]) -> bool:
    present = [json.dumps(flat[key], sort_keys=True) for flat in flats if key in flat]
    return len(set(present)) > 1 or (_is_callback(key) and len(present) < len(flats))


def _is_callback(key: str) -> bool:
    return key.startswith("callbacks.") and key.count(".") == 1


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "none"
    text = value if isinstance(value, str) else json.dumps(value)  # 1 batch and a share of 1.0 stay apart
    return text if len(text) <= MAX_CHARACTERS else text[: MAX_CHARACTERS - 1] + "…"
