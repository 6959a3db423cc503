"""Attributes of the images of a gallery, such as make or colour, which results show and searches filter by."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from carsfg.errors import InputError, suggestion

MAX_NAMED = 10  # values of an attribute, in a message


@dataclass(frozen=True, eq=False)
class Attributes:
    """Columns of texts, one text per image; most texts occur often, so each is kept once.

    Attributes:
        values: the different texts of each column, by its name; an empty text where nothing is known.
        codes: int32 (A, N), for each of the A columns the place of each image's text in `values`.
    """

    values: Mapping[str, Sequence[str]] = field(default_factory=dict)
    codes: Tensor = field(default_factory=lambda: torch.zeros(0, 0, dtype=torch.int32))

    @classmethod
    def of(cls, columns: Mapping[str, Sequence[str]]) -> "Attributes":
        """Pack columns of N texts.

        Args:
            columns: by name, all of the same length.
        """
        if not columns:
            return cls()
        values = {name: sorted(set(texts)) for name, texts in columns.items()}
        places = {name: {text: place for place, text in enumerate(texts)} for name, texts in values.items()}
        rows = [[places[name][text] for text in texts] for name, texts in columns.items()]
        return cls(values, torch.tensor(rows, dtype=torch.int32))

    def columns(self) -> dict[str, list[str]]:
        """Return all columns of N texts by name, as `of` takes them."""
        pairs = zip(self.values.items(), self.codes.tolist(), strict=True)
        return {name: [texts[code] for code in codes] for (name, texts), codes in pairs}

    def take(self, rows: Tensor) -> "Attributes":
        """Return the attributes of some images; texts that none of them has are forgotten.

        Args:
            rows: int64 (M,), places of the images.
        """
        if not self.values:
            return self
        values, codes = {}, []
        for (name, texts), row in zip(self.values.items(), self.codes, strict=True):
            used, places = np.unique(row[rows].numpy(), return_inverse=True)
            values[name] = [texts[code] for code in used.tolist()]
            codes.append(torch.from_numpy(places).int())
        return Attributes(values, torch.stack(codes))

    def join(self, others: "Attributes", counts: tuple[int, int]) -> "Attributes":
        """Return the attributes of all images, followed by those of others; a missing column has empty texts.

        Args:
            others: attributes of the images that follow.
            counts: numbers of images, N and that of the others.
        """
        names = dict.fromkeys([*self.values, *others.values])
        sides = ((self.columns(), counts[0]), (others.columns(), counts[1]))
        return Attributes.of({n: [text for own, count in sides for text in own.get(n, [""] * count)] for n in names})

    def at(self, place: int) -> dict[str, str]:
        """Return what is known of an image, by the names of the columns.

        Args:
            place: of the image, 0..N-1.
        """
        columns = zip(self.values.items(), self.codes, strict=True)
        return {name: texts[codes[place]] for (name, texts), codes in columns if texts[codes[place]]}

    def choices(self, name: str) -> list[str]:
        """Return the different values of a column, without the empty text; in the order of numbers if all are numbers.

        Args:
            name: attribute, a key of `values`.
        """
        texts = [text for text in self.values[name] if text]
        numbers = [_number(text) for text in texts]
        if any(number is None for number in numbers):
            return texts
        return [text for _, text in sorted(zip(numbers, texts, strict=True))]

    def among(self, wanted: Mapping[str, str]) -> Tensor:
        """Return which images have all of some values, bool (N,); values are compared without regard to case.

        Args:
            wanted: a value by the name of each column that matters.

        Raises:
            InputError: a column does not exist, or no image has the values.
        """
        chosen = torch.ones(self.codes.shape[1], dtype=torch.bool)
        for row, (name, texts) in enumerate(self.values.items()):
            if name in wanted:
                fits = torch.tensor([bool(text) and _same(text, wanted[name]) for text in texts])
                chosen &= fits[self.codes[row].long()]
        for name, value in wanted.items():
            if name not in self.values:
                known = f"it has {', '.join(self.values)}" if self.values else "it has none"
                raise InputError(f"the gallery has no attribute {name!r}{suggestion(name, self.values)}; {known}")
            if not any(_same(text, value) for text in self.values[name] if text):
                raise InputError(f"the gallery holds no image with {name} {value}{self._instead(name, value)}")
        if not chosen.any():
            said = ", ".join(f"{name} {value}" for name, value in wanted.items())
            raise InputError(f"the gallery holds no image with {said}")
        return chosen

    def _instead(self, name: str, value: str) -> str:
        """Return what to ask for in place of a value that no image has."""
        known = {text.casefold(): text for text in self.choices(name)}
        close = suggestion(value.casefold(), known)
        meant = next((text for key, text in known.items() if repr(key) in close), None)
        if meant is not None:
            return f" (did you mean {meant!r}?)"
        return f"; its values of {name} are {', '.join([*known.values()][:MAX_NAMED])}" + (
            ", ..." if len(known) > MAX_NAMED else ""
        )


def _same(text: str, other: str) -> bool:
    return text.casefold() == other.casefold()


def _number(text: str) -> float | None:
    """Return the finite number that a text is; None for any other text."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
