"""Damage to files, by a seeded generator: cut off, flipped bits, inflated numbers, parts moved, other kinds of file."""

import json
import random
import zlib
from typing import Any

HUGE = (0, -1, 2**31 - 1, 2**32 - 1, 2**30, 2**40, 2**62)
OTHER_FILES = (b"", b"\0", b"PK\x03\x04", b"PK\x05\x06" + bytes(18), b"\x93NUMPY\x01\x00", b"\x80\x02.", b"[" * 50_000)
OTHER_VALUES: tuple[Any, ...] = (
    None, True, 0, -1, 10**30, 1e308, float("nan"), float("inf"), "", "1\n2\x1b[2J", "é\ud800", [], {}, [{}], {"a": []},
)  # fmt: skip


def mutated(data: bytes, random_: random.Random) -> bytes:
    """Damage a file in one to three places."""
    for _ in range(random_.randint(1, 3)):
        data = random_.choice((_cut, _flip, _inflate, _inflate, _move, _fill, _other))(data, random_)
    return data


def mutated_text(data: bytes, random_: random.Random) -> bytes:
    """Damage a text file: bytes as above, or lines and cells that are left out, repeated or replaced."""
    if random_.random() < 0.5:
        return mutated(data, random_)
    lines = data.split(b"\n")
    for _ in range(random_.randint(1, 3)):
        place = random_.randrange(len(lines))
        cells = lines[place].split(b",")
        cells[random_.randrange(len(cells))] = str(random_.choice(OTHER_VALUES)).encode(errors="surrogatepass")
        lines[place] = random_.choice((b",".join(cells), b",".join(cells), lines[place] + b",x", b"", b'"', b"\xff"))
    return b"\n".join(lines)


def mutated_json(data: bytes, random_: random.Random) -> bytes:
    """Replace one to three values of a JSON file by values of another type or range."""
    if random_.random() < 0.2:
        return mutated(data, random_)
    value = json.loads(data)
    for _ in range(random_.randint(1, 3)):
        value = _replaced(value, random_)
    return json.dumps(value).encode()


def mutated_mat(data: bytes, random_: random.Random) -> bytes:
    """Damage a `.mat` file, inside its compressed variables as well."""
    if random_.random() < 0.4 or int.from_bytes(data[128:132], "little") != 15:
        return mutated(data, random_)
    inner = mutated(zlib.decompress(data[136:]), random_)
    packed = zlib.compress(inner)
    return data[:128] + (15).to_bytes(4, "little") + len(packed).to_bytes(4, "little") + packed


def _replaced(value: Any, random_: random.Random) -> Any:
    if not isinstance(value, dict | list) or not value or random_.random() < 0.15:
        return random_.choice(OTHER_VALUES)
    copy: Any = value.copy()
    key = random_.choice([*value] if isinstance(value, dict) else range(len(value)))
    if random_.random() < 0.1:
        del copy[key]
    else:
        copy[key] = _replaced(copy[key], random_)
    return copy


def _cut(data: bytes, random_: random.Random) -> bytes:
    return data[: random_.randrange(len(data) + 1)]


def _flip(data: bytes, random_: random.Random) -> bytes:
    if not data:
        return data
    place = _place(data, random_)
    return data[:place] + bytes([data[place] ^ 1 << random_.randrange(8)]) + data[place + 1 :]


def _inflate(data: bytes, random_: random.Random) -> bytes:
    """Write a huge number over a place that is a multiple of four, as most numbers of headers are."""
    width, number, place = random_.choice((4, 8)), random_.choice(HUGE), _place(data, random_) // 4 * 4
    written: bytes = (number % 2 ** (8 * width)).to_bytes(width, "little")
    return data[:place] + written + data[place + width :]


def _move(data: bytes, random_: random.Random) -> bytes:
    start, stop = sorted((_place(data, random_), _place(data, random_)))
    return data[:start] + data[stop:] + data[start:stop]


def _fill(data: bytes, random_: random.Random) -> bytes:
    place, length = _place(data, random_), random_.randrange(1, 64)
    return data[:place] + random_.choice((b"\0", b"\xff", b"9", b"\n")) * length + data[place + length :]


def _other(data: bytes, random_: random.Random) -> bytes:
    if random_.random() < 0.7:
        return data
    return random_.choice(OTHER_FILES) + random_.choice((b"", data))


def _place(data: bytes, random_: random.Random) -> int:
    """A place in a file, half of the time in the head."""
    most = max(1, len(data) if random_.random() < 0.5 else min(len(data), 200))
    return random_.randrange(most)
