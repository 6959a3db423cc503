"""Options of the verbs: dataclasses that become jsonargparse parsers.

All verbs share one grammar: positional words first, then options with underscores, `--data.NAME` for the data block, as
LightningCLI has them. A boolean option may be given alone: `--json` means `--json=true`.
"""

import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_type_hints

from jsonargparse import ArgumentParser, Namespace

from carsfg.commands.parsing import RaisingErrors, one_line
from carsfg.errors import InputError, suggestion

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Options = TypeVar("Options", bound="DataclassInstance")
REPEATED = tuple[str, ...]  # type of several positional words, or of an option that may be repeated
MAX_COUNTS = {"batch_size": 65_536, "knn": 1000}  # images and neighbours: no device holds more, no vote needs more
TRUTH_WORDS = ("true", "false", "yes", "no")  # that may follow a boolean option


def positional(text: str, default: Any = MISSING, **arguments: Any) -> Any:
    """Declare a field of an options class that is a positional argument.

    Args:
        text: sentence shown by `--help`.
        default: value if the option is absent; an option without default is required.
        **arguments: further ones of `add_argument`, such as `nargs` and `metavar`.
    """
    optional = {} if default is MISSING else {"nargs": "?"}
    return field(default=default, metadata={"help": text, "positional": True, **optional, **arguments})


def option(
    text: str, default: Any = MISSING, *, short: str | None = None, alone: str | None = None, **arguments: Any
) -> Any:
    """Declare a field of an options class that is given as `--NAME`.

    Args:
        text: sentence shown by `--help`.
        default: value if the option is absent; an option without default is required.
        short: the flag that is used in place of `--NAME`, such as `-k`.
        alone: the value that `--NAME` without a value means.
        **arguments: further ones of `add_argument`, such as `nargs` and `metavar`.
    """
    return field(default=default, metadata={"help": text, "short": short, "alone": alone, **arguments})


@dataclass(frozen=True, kw_only=True)
class DeviceOptions:
    """Options of all verbs that run a network.

    Attributes:
        device: where to compute, see `carsfg.hardware.find_device`.
    """

    device: str = option("where to compute: auto, cpu, cuda, cuda:1 or mps", "auto")


@dataclass(frozen=True, kw_only=True)
class Inference(DeviceOptions):
    """Options of the verbs that run a network on many images.

    Attributes:
        precision: see `carsfg.hardware.choose_precision`.
        batch_size: images at a time.
    """

    precision: Literal["32-true", "bf16-mixed"] | None = option(
        "precision to compute in; by default that of the run, if the device computes in it", None
    )
    batch_size: int = option("images at a time", 64)


NETWORK = "file that `carsfg fit` wrote; or timm:NAME or torchvision:NAME, a pretrained network"


@dataclass(frozen=True, kw_only=True)
class PretrainedWeights:
    """Options of the verbs that take a pretrained network in place of a checkpoint.

    Attributes:
        weights: see `carsfg.tasks.pretrained.load_pretrained`.
    """

    weights: str | None = option(
        "of a pretrained network: a state_dict file (.pt or .safetensors), or a name of torchvision's weights; by "
        "default the network's own, downloaded once",
        None,
    )


@dataclass(frozen=True, kw_only=True)
class Embedding(Inference):
    """Options of the verbs that also compare the embeddings of these images.

    Attributes:
        metric: how embeddings are compared.
    """

    metric: Literal["cosine", "euclidean"] | None = option(
        "distance between embeddings: cosine or euclidean; by default as in the run, or else cosine", None
    )


class RaisingParser(RaisingErrors, ArgumentParser):
    """A parser that raises its errors instead of printing them and exiting."""


def run_verb(name: str, verbs: Mapping[str, Callable[[Sequence[str]], int]], usage: str, args: Sequence[str]) -> int:
    """Run a verb below a verb, such as `carsfg data check`, or print the usage.

    Args:
        name: of the verb above, such as `data`.
        verbs: what runs each verb.
        usage: text to print for `--help`.
        args: the words after `carsfg NAME`.

    Returns:
        The exit code of the verb.

    Raises:
        InputError: the verb is unknown or missing.
    """
    if args and args[0] in {"-h", "--help"}:
        print(usage, end="")  # noqa: T201
        return 0
    if not args or args[0] not in verbs:
        wrong = f"unknown verb {args[0]!r}{suggestion(args[0], verbs)}" if args else "a verb is missing"
        raise InputError(f"{wrong}; see `carsfg {name} --help`")
    return verbs[args[0]](args[1:])


def parse(verb: str, kind: type[Options], args: Sequence[str]) -> Options:
    """Parse the words of a verb.

    Args:
        verb: words after `carsfg` that lead here, such as `data check`.
        kind: dataclass of the options, with fields by `positional` and `option`, or blocks of such; its docstring
            describes the verb.
        args: the words after the verb.

    Raises:
        InputError: a word is unknown, missing, or not of its type.
        SystemExit: help was asked for.
    """
    described = (inspect.getdoc(kind) or "").partition("\n\nAttributes:")[0]
    names, hints = dict(_names(kind)), _hints(kind)
    parser = RaisingParser(prog=f"carsfg {verb}", description=" ".join(described.split()), allow_abbrev=False)
    for name, one in names.items():
        _add(parser, name, one, hints[name])
    try:
        return _build(kind, parser.parse_args(_complete(args, names, hints)))
    except InputError as error:
        message = _unknown(str(error), [_flag(name, one) for name, one in names.items()]) or one_line(str(error), {})
        raise InputError(f"{message}; see `carsfg {verb} --help`") from None


def _unknown(message: str, known: Iterable[str]) -> str:
    """Return the message for a word that the parser does not know; an empty text for any other error."""
    found = re.match(r"unrecognized arguments: (\S+)", message.strip())
    if not found:
        return ""
    word = found[1].partition("=")[0]
    return f"unknown {'option' if word.startswith('-') else 'argument'} {word!r}{suggestion(word, known)}"


def _names(kind: Any, prefix: str = "") -> Iterator[tuple[str, Field[Any]]]:
    """Yield all fields of a dataclass by dotted name."""
    hints = get_type_hints(kind)
    for one in fields(kind):
        if is_dataclass(hints[one.name]):
            yield from _names(hints[one.name], f"{prefix}{one.name}.")
        else:
            yield prefix + one.name, one


def _hints(kind: Any, prefix: str = "") -> dict[str, Any]:
    """Return the types of all fields of a dataclass by dotted name."""
    found: dict[str, Any] = {}
    for name, hint in get_type_hints(kind).items():
        found |= _hints(hint, f"{prefix}{name}.") if is_dataclass(hint) else {prefix + name: hint}
    return found


def _flag(name: str, one: Field[Any]) -> str:
    return name if one.metadata.get("positional") else one.metadata.get("short") or f"--{name}"


def _add(parser: ArgumentParser, name: str, one: Field[Any], hint: Any) -> None:
    arguments: dict[str, Any] = {"help": one.metadata["help"]}
    if one.metadata.get("positional"):
        arguments["metavar"] = name.upper()
    arguments |= {key: one.metadata[key] for key in ("nargs", "metavar") if key in one.metadata}
    if one.default is not MISSING:
        arguments["default"] = list(one.default) if hint == REPEATED else one.default
    elif not one.metadata.get("positional"):
        arguments["required"] = True
    if hint == REPEATED and "nargs" not in arguments:
        arguments["action"] = "append"
    else:
        arguments["type"] = str if hint == REPEATED else hint
    parser.add_argument(_flag(name, one), **arguments)


def _build(kind: type[Options], values: Namespace) -> Options:
    """Build an options object, blocks included, from parsed values."""
    hints = get_type_hints(kind)
    found = {}
    for one in fields(kind):
        short = (one.metadata.get("short") or "").lstrip("-")
        value = values[short or one.name]
        if is_dataclass(hints[one.name]):
            value = _build(hints[one.name], value)
        found[one.name] = tuple(value) if hints[one.name] == REPEATED else value
    return kind(**found)


def _complete(args: Sequence[str], known: Mapping[str, Field[Any]], hints: Mapping[str, Any]) -> list[str]:
    """Add the value to options that stand alone."""
    alone = {f"--{name}": "true" for name in known if hints[name] is bool}
    alone |= {f"--{name}": one.metadata["alone"] for name, one in known.items() if one.metadata.get("alone")}
    words = []
    for place, word in enumerate(args):
        following = args[place + 1] if place + 1 < len(args) else "--"
        is_bool = alone.get(word) == "true"
        needs = word in alone and (following.lower() not in TRUTH_WORDS if is_bool else following.startswith("-"))
        words.append(f"{word}={alone[word]}" if needs else word)
    return words


def split_block(args: Sequence[str], block: str, known: Iterable[str]) -> tuple[list[str], list[str]]:
    """Separate the options of a block, whose class is known later, from the other words.

    Args:
        args: the words of a verb.
        block: name of the block, such as `data`.
        known: names in the block that the verb's own parser knows as well.

    Returns:
        The words for the verb's parser: all, except for options of the block that it does not know. All words of the
        block, with their values joined by `=`.
    """
    own, held, names = [], [], [f"--{block}.{name}" for name in known]
    words = iter(args)
    for word in words:
        name, equals, _ = word.partition("=")
        if name != f"--{block}" and not name.startswith(f"--{block}."):
            own.append(word)
            continue
        joined = word if equals else f"{word}={next(words, '')}"
        held.append(joined)
        own += [joined] if name in names else []
    return own, held


def check_counts(options: Any, *names: str) -> None:
    """Check that some options are positive and not beyond reason.

    Args:
        options: parsed command line.
        *names: options that count something, such as `batch_size`.

    Raises:
        InputError: one of them is below 1, or far above what a computer can use.
    """
    for name in names:
        count = getattr(options, name)
        if count < 1:
            raise InputError(f"--{name} {count} must be 1 or more")
        if name in MAX_COUNTS and count > MAX_COUNTS[name]:
            raise InputError(f"--{name} {count} is too large: use {MAX_COUNTS[name]} or less")
