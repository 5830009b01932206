"""How loud phonemes are: root mean square over that of the speech around them.

Means over 2,000 clips of natural voices (benchmarks/phoneme_loudness.py).
"""

from __future__ import annotations

_LOUDNESS = {
    "F P TH": 0.2,
    "K": 0.3,
    "HH V DH G": 0.4,
    "T": 0.5,
    "S W Z B": 0.6,
    "ZH": 0.7,
    "JH CH D NG SH Y": 0.8,
    "IY L": 0.9,
    "UW R ER": 1.0,
    "AH M N": 1.1,
    "EY AO OW IH": 1.2,
    "AE AY UH OY AA AW": 1.3,
    "EH": 1.4,
}
LOUDNESS = {symbol: value for group, value in _LOUDNESS.items() for symbol in group.split()}
LOUDEST = max(LOUDNESS.values())
