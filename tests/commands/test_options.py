"""The grammar that all verbs share, on an options class of its own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from carsfg.commands.options import Embedding, option, parse, positional, split_block
from carsfg.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Block:
    """A block."""

    crop: bool | None = option("cut", None)
    drawn: Mapping[str, int] | None = option("draw", None)


@dataclass(frozen=True, kw_only=True)
class Options(Embedding):
    """Do something with photos.

    Attributes:
        gallery: not part of the help.
    """

    gallery: str = positional("the gallery")
    photos: tuple[str, ...] = positional("the photos", nargs="+", metavar="PHOTO")
    k: int = option("how many", 10, short="-k")
    json: bool = option("write JSON", False)
    url: tuple[str, ...] = option("addresses", ())
    readme: str | None = option("a file", None, alone="README.md")
    split: Literal["train", "test"] | None = option("a split", None)
    data: Block = field(default_factory=Block)


def parsed(*words: str) -> Options:
    return parse("try", Options, words)


def test_defaults() -> None:
    assert parsed("g", "a.jpg") == Options(gallery="g", photos=("a.jpg",))
    assert parsed("g", "a.jpg").device == "auto"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["-k", "3"], {"k": 3}),
        (["-k=3"], {"k": 3}),
        (["--json"], {"json": True}),
        (["--json=false"], {"json": False}),
        (["--json", "false"], {"json": False}),
        (["--url", "x", "--url=y"], {"url": ("x", "y")}),
        (["--readme"], {"readme": "README.md"}),
        (["--readme=OTHER.md"], {"readme": "OTHER.md"}),
        (["--split=test", "--precision=bf16-mixed"], {"split": "test", "precision": "bf16-mixed"}),
        (["--data.crop=no"], {"data": Block(crop=False)}),
        (["--data.drawn={classes: 3}"], {"data": Block(drawn={"classes": 3})}),
    ],
)
def test_options(words: Sequence[str], expected: dict[str, Any]) -> None:
    assert parsed("g", "a.jpg", *words) == Options(gallery="g", photos=("a.jpg",), **expected)


def test_words_keep_their_text() -> None:
    """Names of files are no YAML."""
    assert parsed("007", "null", "1e5", "-").photos == ("null", "1e5", "-")


def test_a_photo_after_a_boolean_option() -> None:
    options = parsed("g", "--json", "a.jpg")
    assert (options.json, options.photos) == (True, ("a.jpg",))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "the following arguments are required: gallery, photos; see `carsfg try --help`"),
        (["g", "a", "-k", "many"], "k 'many' is not an integer"),
        (["g", "a", "--split=val"], "split 'val' is not one of 'train', 'test'"),
        (["g", "a", "--data.crop=perhaps"], "data.crop 'perhaps' is not true or false"),
        (["g", "a", "--data.drawn=demo"], "data.drawn"),
        (["g", "a", "--batch-size=3"], "unknown option '--batch-size' (did you mean '--batch_size'?)"),
        (["g", "a", "--jsn"], "unknown option '--jsn' (did you mean '--json'?)"),
        (["g", "a", "--devic=cpu"], "unknown option '--devic' (did you mean '--device'?)"),
    ],
)
def test_mistakes(words: Sequence[str], said: str) -> None:
    with pytest.raises(InputError) as error:
        parsed(*words)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        parsed("--help")
    assert end.value.code == 0
    out = capsys.readouterr().out
    assert "Do something with photos." in out
    assert "not part of the help" not in out
    assert "PHOTO [PHOTO ...]" in out


def test_options_of_a_block() -> None:
    words = ["c", "--data.root", "x", "--data.strange=1", "--knn=3", "--data=own.Data"]
    own, block = split_block(words, "data", ["root"])
    assert own == ["c", "--data.root=x", "--knn=3"]
    assert block == ["--data.root=x", "--data.strange=1", "--data=own.Data"]
