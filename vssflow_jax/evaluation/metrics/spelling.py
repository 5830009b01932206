"""One spelling for words that are written in several ways, so that none of them counts as wrong.

American spelling for British, contractions written out. Rules of British endings apply where
CMUdict has the American word, and where it has both with one pronunciation: so "travelled" becomes
"traveled", and "filled" does not become "filed".
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable

from vssflow_jax.text.phonemes import list_pronunciations

# British ending -> American, each behind what the pattern requires of the stem.
ENDINGS = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"(?<=[a-z]{2})our(?=$|s$|ed$|ing$|er|ful|less|able|ably|ite|hood|ly|y)", "or"),
        (r"(?<=[a-z]{3})is(?=(e|ed|es|er|ers|ing|ation|ations|able)$)", "iz"),
        (r"(?<=[a-z]{3})ys(?=(e|ed|es|er|ers|ing)$)", "yz"),
        (r"(?<=[aeiou])(?<=[a-z]{4})l(?=l(ed|ing|er|ers|or|ors|ery|ous|en|ist|ists)$)", ""),
    )
)
# What no rule above makes: words, which may have a plural s, and stems with any ending.
WORDS = {
    "ageing": "aging", "analogue": "analog", "axe": "ax", "calibre": "caliber",
    "catalogue": "catalog", "centimetre": "centimeter", "centre": "center", "centred": "centered",
    "cheque": "check", "chequered": "checkered", "cosy": "cozy", "defence": "defense",
    "dialogue": "dialog", "draught": "draft", "enrol": "enroll", "enrolment": "enrollment",
    "fibre": "fiber", "fulfil": "fulfill", "fulfilment": "fulfillment", "gaol": "jail",
    "instalment": "installment", "judgement": "judgment", "kerb": "curb",
    "kilometre": "kilometer", "licence": "license", "litre": "liter", "lustre": "luster",
    "manoeuvre": "maneuver", "manoeuvred": "maneuvered", "manoeuvring": "maneuvering",
    "meagre": "meager", "metre": "meter", "millimetre": "millimeter", "monologue": "monolog",
    "offence": "offense", "ok": "okay", "omelette": "omelet", "pretence": "pretense",
    "programme": "program", "sabre": "saber", "sombre": "somber", "spectre": "specter",
    "storey": "story", "theatre": "theater", "tyre": "tire", "yoghurt": "yogurt",
}  # fmt: skip
STEMS = {
    "anaesth": "anesth", "archaeo": "archeo", "cosi": "cozi", "encyclopaed": "encycloped",
    "foet": "fet", "grey": "gray", "haemo": "hemo", "jewellery": "jewelry",
    "mediaeval": "medieval", "mould": "mold", "moult": "molt", "moustache": "mustache",
    "oestrogen": "estrogen", "orthopaed": "orthoped", "paediatr": "pediatr", "plough": "plow",
    "practis": "practic", "pyjama": "pajama", "sceptic": "skeptic", "skilful": "skillful",
    "smoulder": "smolder", "wilful": "willful",
}  # fmt: skip
IRREGULAR_CONTRACTIONS = {
    "can't": "can not", "cannot": "can not", "shan't": "shall not", "won't": "will not",
    "let's": "let us", "gonna": "going to", "gotta": "got to", "wanna": "want to",
}  # fmt: skip
CONTRACTIONS = {
    "n't": "not", "'re": "are", "'ve": "have", "'ll": "will", "'m": "am", "'d": "would",
}  # fmt: skip
# Behind these 's stands for "is"; behind other words it may be the genitive, and stays.
BEFORE_IS = frozenset(
    ("he", "she", "it", "that", "there", "here", "what", "where", "who", "when", "how", "why")
)


@functools.lru_cache(maxsize=65_536)
def americanize(word: str) -> str:
    """The American spelling of a word in small letters; other words as they are."""
    if word.endswith("'s"):
        return americanize(word[:-2]) + "'s"
    singular = word.removesuffix("s")
    if singular in WORDS:
        return WORDS[singular] + word[len(singular) :]
    for british, american in STEMS.items():
        if word.startswith(british):
            return american + word.removeprefix(british)
    for pattern, replacement in ENDINGS:
        american = pattern.sub(replacement, word, count=1)
        if american != word and _is_same_word(word, american):
            return american
    return word


def _is_same_word(british: str, american: str) -> bool:
    """Whether CMUdict has the second word, and no other sound for the first."""
    sounds, american_sounds = list_pronunciations(british), list_pronunciations(american)
    return bool(american_sounds) and (not sounds or bool(sounds & american_sounds))


def expand_contraction(word: str) -> list[str]:
    """The words that a contraction stands for; another word alone."""
    if word in IRREGULAR_CONTRACTIONS:
        return IRREGULAR_CONTRACTIONS[word].split()
    for ending, meaning in CONTRACTIONS.items():
        if word.endswith(ending) and len(word) > len(ending):
            return [*expand_contraction(word.removesuffix(ending)), meaning]
    if word.endswith("'s") and word[:-2] in BEFORE_IS:
        return [word[:-2], "is"]
    return [word]


def unify_spelling(words: Iterable[str]) -> list[str]:
    """Words in small letters, contractions written out, in American spelling."""
    return [americanize(part) for word in words for part in expand_contraction(word)]
