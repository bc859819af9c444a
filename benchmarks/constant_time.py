"""Does the time that a refusal takes tell anything? After dudect (Reparaz, Balasch, Verbauwhede: "Dude, is my code
constant time?", 2017): two classes of input, drawn at random and interleaved, and Welch's t between their times.

    mac    a MAC that is wrong in its first byte, beside one that is wrong in its last
    key    a wrong MAC under a key that exists, beside one under a key that nobody has

Both go through `Verifier.authenticate`, and through the same with a fault planted: a comparison byte by byte, a check
that ends where the key is unknown. |t| above 4.5 is a difference; that of an unknown key counts from 30 ns on, for the
interpreter's own steps come to less, whichever way they are written. Times are cropped at several percentiles of both
classes together, because the long ones are the machine's; the greatest t of all crops counts. A difference is looked
for again with new samples before it is believed. Ends with 1 when ours shows one, or when a planted fault does not.
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import random
import secrets
import sys
import time
from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Final
from unittest import mock

from benchmarks.messages import AUTHORITY, KEY, KEY_ID, NODE_ID, NOW, one
from node_protocol import signatures
from node_protocol.refusals import Code, Refused
from node_protocol.signatures import MacKey, SignatureFacts, Unverified, signature_of
from verifier import NodeKey, SignedRequest, Verifier
from verifier.stores import MemoryStore

THRESHOLD: Final = 4.5
CROPS: Final = (1.0, 0.99, 0.95, 0.9, 0.75, 0.5)
"""Which part of the times counts, the shortest ones."""
BATCH: Final = 500
"""Requests that are made at once, before they are timed."""
WARM_UP: Final = 2
"""Batches whose times are thrown away."""
LEAST: Final = 200
"""Samples of a class below which a crop has no t."""
FLOOR: Final = {"mac": 0.0, "key": 30.0}
"""Nanoseconds from which a difference counts. One comparison left out takes more, and one hash ten times that; a branch
of Python's takes less, and may go for either class. Of a MAC's bytes nothing at all may tell."""

Make = Callable[[int], SignedRequest]


@dataclass
class Finding:
    """What one pair of classes showed."""

    pair: str
    code: str
    """`ours` or `planted`."""
    samples: int
    t: float
    crop: float
    """The part of the times in which that t was found."""
    nanoseconds: float
    """By how much the second class took longer, in that part."""
    floor: float = 0.0
    """From how many on it counts."""
    differs: bool = field(default=False)


def wrong_mac(kind: int) -> SignedRequest:
    """Class 0: wrong in the first byte; class 1: in the last. Both are made by the same steps."""
    return _bent(one(NOW), 31 * kind)


def whose_key(kind: int) -> SignedRequest:
    """Class 0: under a key that exists; class 1: under one of the same form that does not."""
    request = _bent(one(NOW), secrets.randbelow(32))
    key_id = f"{NODE_ID[:-1]}{'45'[kind]}.1"
    headers = [(n, v.replace(KEY_ID, key_id) if n == "signature-input" else v) for n, v in request.headers]
    return request._replace(headers=headers)


def source() -> Callable[[str], NodeKey | None]:
    """The keys, found at one price whether there or not: what a key source takes is its own matter."""
    known, key = NodeKey.of(KEY_ID, KEY), NodeKey.of(f"{NODE_ID[:-1]}4.1", KEY)
    by_last_letter = {NODE_ID[-1]: known, "4": key, "5": None}
    return lambda key_id: by_last_letter[key_id[-3]]


def _bent(request: SignedRequest, place: int) -> SignedRequest:
    mac = bytearray(signature_of(request.headers))
    mac[place] ^= 1 + secrets.randbelow(255)
    line = f"node=:{b64encode(mac).decode()}:"
    return request._replace(headers=[(n, line if n == "signature" else v) for n, v in request.headers])


PAIRS: Final[dict[str, Make]] = {"mac": wrong_mac, "key": whose_key}


@contextmanager
def planted(pair: str) -> Iterator[None]:
    """The fault that the pair must find."""
    real = Unverified.check

    def early(self: Unverified, key: MacKey | None, body: bytes) -> SignatureFacts:
        if key is None:
            raise Refused(Code.UNAUTHENTICATED, "unknown_key")
        return real(self, key, body)

    where, what = (signatures, naive) if pair == "mac" else (Unverified, early)
    with mock.patch.object(where, "compare_digest" if pair == "mac" else "check", what):
        yield


def naive(one: bytes, other: bytes) -> bool:
    """The comparison that nobody should write."""
    if len(one) != len(other):
        return False
    return all(map(int.__eq__, one, other))


def timed(make: Make, samples: int, until: float) -> tuple[list[int], list[int]]:
    """Nanoseconds of each class, until there are so many samples of both together or the time is up."""
    judge = Verifier(keys=source(), store=MemoryStore(), authorities=[AUTHORITY], now=lambda: NOW).authenticate
    clock = time.perf_counter_ns
    taken: tuple[list[int], list[int]] = ([], [])
    batches = 0
    while len(taken[0]) + len(taken[1]) < samples and (batches < WARM_UP + 2 or time.perf_counter() < until):
        # Every request is made anew, by the same steps for both classes: two objects that are judged again and again
        # differ by where they lie in memory.
        classes = [random.getrandbits(1) for _ in range(BATCH)]
        requests = [make(kind) for kind in classes]
        times = []
        for request in requests:
            began = clock()
            try:
                judge(request)
            except Refused:
                times.append(clock() - began)
        for kind, nanoseconds in zip(classes, times, strict=True):
            if batches >= WARM_UP:
                taken[kind].append(nanoseconds)
        batches += 1
    return taken


def welch(one: Sequence[int], other: Sequence[int]) -> tuple[float, float]:
    """Welch's t, positive where the second takes longer, and the difference of the means."""
    means = [sum(each) / len(each) for each in (one, other)]
    spread = sum(
        sum((value - mean) ** 2 for value in each) / (len(each) - 1) / len(each)
        for each, mean in zip((one, other), means, strict=True)
    )
    difference = means[1] - means[0]
    if spread == 0:
        return (math.copysign(math.inf, difference) if difference else 0.0), difference
    return difference / math.sqrt(spread), difference


def look(pair: str, code: str, samples: int, seconds: float) -> Finding:
    """The greatest t of all crops."""
    one_, other = timed(PAIRS[pair], samples, time.perf_counter() + seconds)
    both = sorted(one_ + other)
    best = Finding(pair, code, len(both), 0.0, 1.0, 0.0, FLOOR[pair])
    for crop in CROPS:
        limit = both[max(0, int(len(both) * crop) - 1)]
        cropped = [[value for value in each if value <= limit] for each in (one_, other)]
        if min(map(len, cropped)) < LEAST:
            continue
        t, difference = welch(*cropped)
        found = Finding(pair, code, len(both), round(t, 2), crop, round(difference, 1), FLOOR[pair])
        found.differs = abs(t) > THRESHOLD and abs(difference) > FLOOR[pair]
        best = max(best, found, key=lambda each: (each.differs, abs(each.t)))
    return best


def measure(samples: int, seconds: float) -> list[Finding]:
    """Ours and the planted fault, for each pair, in about so many seconds."""
    share = seconds / (2 * len(PAIRS) + 1)
    findings = []
    for pair in PAIRS:
        ours = look(pair, "ours", samples, share)
        if ours.differs:
            again = look(pair, "ours", samples, share)
            again.differs = again.differs and again.t * ours.t > 0
            ours = again
        with planted(pair):
            found = look(pair, "planted", samples, share)
        findings += [ours, found]
    return findings


def _in_words(finding: Finding) -> str:
    if finding.differs:
        return "differs"
    return "differs by too little to count" if abs(finding.t) > THRESHOLD else "no difference"


def main() -> int:
    """Print the findings; 1 when ours shows a difference, or a planted one was not found."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.constant_time", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="about how long it may take (default 60)")
    parser.add_argument("--samples", type=int, default=200_000, help="at most so many a measurement (default 200000)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    given = parser.parse_args()
    gc.disable()
    findings = measure(given.samples, given.seconds)
    good = all(each.differs == (each.code == "planted") for each in findings)
    if given.json:
        print(json.dumps({"threshold": THRESHOLD, "good": good, "findings": [asdict(each) for each in findings]}))
        return int(not good)
    names = f"{'pair':<6}{'code':<10}{'samples':>9}{'t':>10}{'crop':>7}{'ns':>9}{'from':>6}"
    print(f"{names}   |t| above {THRESHOLD} is a difference")
    for each in findings:
        figures = f"{each.samples:>9}{each.t:>10.2f}{each.crop:>7}{each.nanoseconds:>9.1f}{each.floor:>6.0f}"
        print(f"{each.pair:<6}{each.code:<10}{figures}   {_in_words(each)}")
    print("as it should be" if good else "NOT as it should be")
    return int(not good)


if __name__ == "__main__":
    sys.exit(main())
