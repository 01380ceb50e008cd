"""Ways to spoil a file: change its bytes, or the values of its JSON and YAML."""

from __future__ import annotations

import copy
import json
import random
from typing import Any

EDGES = (0, 1, 2**7, 2**8 - 1, 2**15, 2**16 - 1, 2**31 - 1, 2**32 - 1, 2**40, 2**63 - 1, 2**64 - 1)
DEEP = "deep"
ODD: tuple[Any, ...] = (
    *(None, True, -1, 0, 10**6, 10**12, 2**63, -(2**63), 0.5, 1e308, float("nan"), float("inf"), [], [[]], {}),
    *("", "x", "../" * 9 + "etc/passwd", "9" * 5000, "\x00", "${oc.env:HOME}", "gym:antigravity:X-v0"),
    {"_target_": "os.system", "command": "false"},
    DEEP,
)


def spoil(data: bytes, rng: random.Random) -> bytes:
    """Change, delete, add, double or move some bytes."""
    for _ in range(rng.choice((1, 1, 1, 2, 4, 16))):
        data = rng.choice(WAYS)(bytearray(data or b"\0"), rng)
    return data


def _flip(data: bytearray, rng: random.Random) -> bytes:
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(data)


def _number(data: bytearray, rng: random.Random) -> bytes:
    """Overwrite bytes by a number at the edge of a type, mostly in the header, which holds sizes."""
    size, place = rng.choice((1, 2, 4, 8)), rng.randrange(min(len(data), rng.choice((64, 512, 10**9))))
    data[place : place + size] = (rng.choice(EDGES) % 256**size).to_bytes(size, rng.choice(("little", "big")))
    return bytes(data)


def _cut(data: bytearray, rng: random.Random) -> bytes:
    return bytes(data[: rng.randrange(len(data))])


def _lose(data: bytearray, rng: random.Random) -> bytes:
    place = rng.randrange(len(data))
    del data[place : place + rng.randrange(1, 64)]
    return bytes(data)


def _add(data: bytearray, rng: random.Random) -> bytes:
    place = rng.randrange(len(data))
    return bytes(data[:place]) + rng.randbytes(rng.randrange(1, 64)) + bytes(data[place:])


def _double(data: bytearray, rng: random.Random) -> bytes:
    begin, place = rng.randrange(len(data)), rng.randrange(len(data))
    piece = data[begin : begin + rng.randrange(1, 256)]
    return bytes(data[:place]) + bytes(piece) + bytes(data[place + rng.choice((0, len(piece))) :])


WAYS = (_flip, _number, _number, _cut, _lose, _add, _double)


def warp(value: Any, rng: random.Random) -> Any:
    """Copy JSON values and change, delete, add or nest one of them."""
    value = copy.deepcopy(value)
    places = list(_places(value))
    if not places:
        return rng.choice(ODD)
    parent, key = rng.choice(places)
    way = rng.randrange(6)
    if way == 0:
        del parent[key]
    elif way == 1 and isinstance(parent, dict):
        parent[rng.choice(("_target_", "x", str(key) * 2))] = parent[key]
    elif way == 2:
        parent[key] = _deep(parent[key], rng.choice((2, 50, 500)))
    elif way == 3 and isinstance(parent[key], int | float):
        parent[key] = type(parent[key])(parent[key] * rng.choice((-1, 2, 1000)) + rng.choice((0, 1)))
    else:
        parent[key] = rng.choice(ODD)
    return value


def _places(value: Any) -> Any:
    """Yield every container and key inside a value."""
    keys = value.keys() if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        yield value, key
        yield from _places(value[key])


def _deep(value: Any, times: int) -> Any:
    for _ in range(times):
        value = [value]
    return value


def text(value: Any) -> bytes:
    """Write JSON; a deep value stands for nesting that Python's own writer cannot write."""
    return json.dumps(value).replace(json.dumps(DEEP), "[" * 5000 + "]" * 5000).encode()
