"""How long phonemes last: means of a data set, typical values, and the model that sampling uses."""

from __future__ import annotations

import base64
import collections
import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from vssflow_jax.text import subwords
from vssflow_jax.text.phonemes import SYMBOLS, symbols_to_ids

SECONDS_PER_LETTER = 0.065  # of a subword, the space before it counted as a letter: 15 a second
EDGE = "#"  # the neighbor of the first and the last phoneme
MIN_OCCURRENCES = 3  # from which a phoneme in its context has a mean of its own
PRIOR_OCCURRENCES = 2.0  # of the shorter context, added to those of the longer one

# Typical seconds in read speech, for a data set without alignments: vowels by stress
# (digit 0, 1, 2), consonants by manner. Close to the means of English corpora such as TIMIT.
_VOWELS = {"0": 0.065, "1": 0.115, "2": 0.100}
_CONSONANTS = {
    0.045: "DH D", 0.060: "V B HH Y W L R N M", 0.075: "T P K G NG TH ZH JH Z",
    0.100: "F S SH CH",
}  # fmt: skip
DEFAULT_DURATIONS = {s: _VOWELS[s[-1]] for s in SYMBOLS if s[-1] in _VOWELS} | {
    s: seconds for seconds, symbols in _CONSONANTS.items() for s in symbols.split()
}

# Phoneme ids [n] and the voice's embedding [256] (None: an unknown voice) -> seconds of each.
DurationFunction = Callable[[np.ndarray, np.ndarray | None], list[float]]


class DurationModel(dict):
    """Mean seconds by symbol, optionally with a tokenizer, a network and a voice.

    Args:
      durations: mean seconds by symbol (see `measure_durations`); may be empty.
      tokenizer: a sentencepiece model, whose subwords are the symbols; empty: phonemes.
      network: predicts the seconds of phonemes in a voice; None: the means alone.
      voice: float [256], the speaker's embedding; None: an unknown voice.
      neighbors: symbols that are said before and behind all those that are predicted.

    Raises:
      InputError: a tokenizer that is no sentencepiece model, or one of too many subwords.
    """

    def __init__(
        self,
        durations: Mapping[str, float],
        tokenizer: bytes = b"",
        network: DurationFunction | None = None,
        voice: np.ndarray | None = None,
        neighbors: tuple[Sequence[str], Sequence[str]] = ((), ()),
    ):
        super().__init__(durations)
        self.tokenizer, self.network, self.voice = tokenizer, network, voice
        self.neighbors = neighbors
        if tokenizer:
            subwords.check_tokenizer(tokenizer)

    def __reduce__(self):
        return DurationModel, (dict(self), self.tokenizer)

    @classmethod
    def from_statistics(cls, statistics: Mapping) -> DurationModel:
        """The model of a data set, from the statistics in its dataset.json."""
        tokenizer = base64.b64decode(statistics.get("subwords", ""))
        return cls(statistics.get("phoneme_durations", {}), tokenizer)

    @property
    def statistics(self) -> dict:
        """The JSON object that `from_statistics` reads."""
        durations = {"phoneme_durations": dict(self)}
        if not self.tokenizer:
            return durations
        return durations | {"subwords": base64.b64encode(self.tokenizer).decode()}

    @property
    def tokenizer_hash(self) -> str:
        """16 hexadecimal digits; empty without a tokenizer."""
        return hashlib.sha256(self.tokenizer).hexdigest()[:16] if self.tokenizer else ""

    def with_voice(self, voice: np.ndarray | None) -> DurationModel:
        """The same model for another voice."""
        return DurationModel(self, self.tokenizer, self.network, voice, self.neighbors)

    def with_neighbors(self, before: Sequence[str], behind: Sequence[str]) -> DurationModel:
        """The same model for what is said between these symbols, not at the ends of a sentence."""
        return DurationModel(self, self.tokenizer, self.network, self.voice, (before, behind))

    def predict_by_network(self, symbols: Sequence[str]) -> list[float] | None:
        """Seconds of each symbol by the network; None where the means are to be used.

        The network beats the means where it knows the voice, and the means, if there are any,
        beat the network where it does not.
        """
        if self.network is None or (self.voice is None and self):
            return None
        return self.network(symbols_to_ids(symbols), self.voice)


def has_tokenizer(durations: Mapping[str, float]) -> bool:
    """Whether texts become subwords instead of phonemes."""
    return isinstance(durations, DurationModel) and bool(durations.tokenizer)


def measure_durations(alignments: Iterable[Sequence]) -> dict[str, float]:
    """Mean seconds of phonemes by symbol, and by symbol and neighbors.

    Keys: "N"; "N AH0", an N before AH0; "S N AH0", the same after S. EDGE is the neighbor of the
    first and the last phoneme. A context has a mean of its own from MIN_OCCURRENCES on, drawn
    towards the mean of the shorter context as if that had occurred PRIOR_OCCURRENCES times more,
    so that rare contexts are not trusted too far.

    Args:
      alignments: (start, end, symbol) of the phonemes of each utterance, seconds.
    """
    total: dict[str, float] = collections.defaultdict(float)
    count: dict[str, int] = collections.Counter()
    for intervals in alignments:
        seconds_of = [end - start for start, end, _ in intervals]
        contexts = _contexts([symbol for _, _, symbol in intervals])
        for keys, seconds in zip(contexts, seconds_of, strict=True):
            for key in keys:
                total[key] += seconds
                count[key] += 1
    means = {symbol: total[symbol] / count[symbol] for symbol in SYMBOLS if count[symbol]}
    for size in (2, 3):
        frequent = (k for k, n in count.items() if n >= MIN_OCCURRENCES and len(k.split()) == size)
        for key in sorted(frequent):
            shorter = " ".join(key.split()[-2:]) if size == 3 else key.split()[0]
            prior = PRIOR_OCCURRENCES * means[shorter]
            means[key] = (total[key] + prior) / (count[key] + PRIOR_OCCURRENCES)
    return means


def _contexts(symbols: Sequence[str]) -> list[tuple[str, str, str]]:
    """The keys of each phoneme, the shortest first."""
    padded = (EDGE, *symbols, EDGE)
    triples = zip(padded, padded[1:], padded[2:], strict=False)
    return [
        (symbol, f"{symbol} {after}", f"{before} {symbol} {after}")
        for before, symbol, after in triples
    ]


def phoneme_duration(symbol: str, durations: Mapping[str, float]) -> float:
    """Seconds of one symbol without regard to its neighbors.

    A phoneme's own mean; else the mean over the vowel's other stresses; else the typical value,
    scaled to the speaking rate of the data set. A subword lasts by its letters.
    """
    if symbol in durations:
        return durations[symbol]
    if subwords.SEPARATOR in symbol:
        return SECONDS_PER_LETTER * len(symbol.partition(subwords.SEPARATOR)[2])
    means = {other: seconds for other, seconds in durations.items() if " " not in other}
    other_stresses = [seconds for other, seconds in means.items() if other[:2] == symbol[:2]]
    if other_stresses and symbol[-1] in _VOWELS:
        return sum(other_stresses) / len(other_stresses)
    typical = sum(DEFAULT_DURATIONS[other] for other in means)
    scale = sum(means.values()) / typical if typical else 1.0
    return DEFAULT_DURATIONS[symbol] * scale


def predict_durations(symbols: Iterable[str], durations: Mapping[str, float]) -> list[float]:
    """Seconds of each symbol: the network's, if any, else the mean in the longest known context."""
    symbols = tuple(symbols)
    if not isinstance(durations, DurationModel):
        return _find_means(symbols, durations)
    before, behind = durations.neighbors
    sentence = (*before, *symbols, *behind)
    seconds = durations.predict_by_network(sentence) or _find_means(sentence, durations)
    return seconds[len(before) : len(before) + len(symbols)]


def _find_means(symbols: Sequence[str], durations: Mapping[str, float]) -> list[float]:
    """The mean seconds of each symbol in the longest known context."""
    return [
        next((durations[key] for key in keys[:0:-1] if key in durations), None)
        or phoneme_duration(keys[0], durations)
        for keys in _contexts(symbols)
    ]


def predict_total(symbols: Iterable[str], durations: Mapping[str, float]) -> float:
    """Seconds that the symbols take together."""
    return sum(predict_durations(symbols, durations))
