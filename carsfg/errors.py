"""Errors that end in one line instead of a traceback, and suggestions for their messages."""

import re
from collections.abc import Iterable

LINE_BREAKS = re.compile(r"\s*[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]\s*")
CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")  # they move the cursor or the text


class _OneLine(Exception):  # noqa: N818 - base of the errors below
    """An error whose message is one line, whatever names and reasons of libraries it holds."""

    def __str__(self) -> str:
        r"""Return the message; line breaks are spaces, and control characters are written as `\x1b`."""
        return CONTROLS.sub(lambda found: ascii(found[0])[1:-1], LINE_BREAKS.sub(" ", super().__str__()))


class InputError(_OneLine):
    """What the user gave cannot be used; the message is one sentence that says what is wrong and what to do.

    The command line prints it and ends with exit code 2.
    """


class UnreachableWeightsError(InputError):
    """Pretrained weights cannot be fetched.

    Args:
        reason: what cannot be fetched, and why, without what to do: that depends on the command.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(f"{reason}; give --model.weights the path of a state_dict, or null for random weights")
        self.reason = reason


class TrainingError(_OneLine):
    """Training cannot continue, or was stopped; the message is one sentence that says why and what to do.

    The command line prints it and ends with exit code 1.
    """


def suggestion(word: str, known: Iterable[str]) -> str:
    """Return ` (did you mean ...?)`, or nothing if no known name is close.

    Args:
        word: a name that is not known.
        known: all valid names, one of which may be suggested.
    """
    import difflib  # here, so that `carsfg --help` does without it

    close = difflib.get_close_matches(word, list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close and close[0] != word else ""
