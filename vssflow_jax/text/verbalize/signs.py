"""Signs between words: mathematics, marks of lists and headings, stage directions, emoticons."""

from __future__ import annotations

import re
import unicodedata

from vssflow_jax.text.verbalize.rule import Rule, one_of, replace_by
from vssflow_jax.text.verbalize.words import read_word

NAMES = {
    "&": "and", "@": "at", "%": "percent", "#": "number", "+": "plus", "=": "equals",
    "<": "less than", ">": "greater than", "\u2260": "does not equal",
    "\u2264": "less than or equal to", "\u2265": "greater than or equal to",
    "\u00b1": "plus or minus", "\u2213": "minus or plus", "\u00d7": "times",
    "\u00f7": "divided by", "\u2044": "over", "\u2248": "approximately",
    "\u221a": "square root of", "\u2211": "sum", "\u220f": "product",
    "\u222b": "integral", "\u2192": "to", "\u00b0": "degrees", "\u00a7": "section",
    "\u00b6": "paragraph", "\u00a9": "copyright", "\u00ae": "registered",
    "\u2122": "trademark", "\u2030": "per mille", "\u2031": "per ten thousand",
    "\u266f": "sharp", "\u266d": "flat", "\u266e": "natural",
}  # fmt: skip
DIRECTIONS = (  # what is done, not said, between parentheses or asterisks
    "applause", "applauds", "beat", "breathes", "breathing", "cheering", "cheers", "chuckles",
    "chuckling", "clapping", "claps", "clears throat", "coughing", "coughs", "cries", "crying",
    "exhales", "gasping", "gasps", "giggles", "giggling", "groaning", "groans", "grunts", "gulps",
    "hums", "humming", "inaudible", "indistinct", "inhales", "laughing", "laughs", "laughter",
    "moans", "mumbles", "music", "nods", "pants", "panting", "pause", "pauses", "screams",
    "screaming", "shouting", "shouts", "shrugs", "sighing", "sighs", "silence", "singing",
    "sings", "smiles", "sniffles", "sniffs", "snores", "sobbing", "sobs", "whispering",
    "whispers", "whistles", "whistling", "winks", "yawning", "yawns", "yells",
)  # fmt: skip

_DIRECTION = rf"(?:[\w'-]{{1,20}} )?{one_of(DIRECTIONS)}(?: [\w'-]{{1,20}})?"
_EMOTICON = r"[:;=]['^-]?[()\[\]DPpOo/\\|*]|<3|[xX]D|:'-?[()]|\(?\^_{1,3}\^\)?|-_{1,3}-"
_DECORATION = "|".join(rf"{re.escape(c)}{{3,}}" for c in "=-_*~#+.<>|")
_LINK = r"\([^()\s]{1,500}\)"


def name_sign(sign: str) -> str:
    """A sign's name: the listed one, else that in Unicode in lower case."""
    if sign in NAMES:
        return NAMES[sign]
    name = unicodedata.name(sign).lower()
    return re.sub("^greek (small|capital) letter | sign$|^n-ary ", "", name)


EARLY_RULES = (
    Rule("decoration", _DECORATION, replace_by("")),
    Rule("link", rf"!?\[(?=[^\[\]\n]{{1,200}}\]{_LINK})", replace_by("")),
    Rule("address of a link", rf"(?<=\]){_LINK}", None),
    Rule("editor's letter", r"\[([A-Za-z])\]([a-z]{1,40})", lambda m: read_word(m[1] + m[2])),
    Rule("stage direction", r"\[[^\[\]\n]{1,300}\]", None),
    Rule("stage direction", rf"(?i:\({_DIRECTION}\)|\*{{1,2}}{_DIRECTION}\*{{1,2}})", None),
    Rule("stage direction", rf"(?i:\{{{_DIRECTION}\}})", None),
    Rule("stage direction", "<[A-Za-z][A-Za-z ]{0,60}>", None),
    Rule("style of a subtitle", r"\{\\[^{}]{1,200}\}", replace_by("")),
    Rule("line break", r"\\[nN]", replace_by("")),
    Rule("emoticon", rf"(?<!\S)(?:{_EMOTICON})(?![^\s.,!?)\"'])", None),
    Rule(
        "mark of a list",
        r"(?m:^[ \t]{0,8}(?:[-*]|[+>](?![ \t]*\d)|#{1,6})[ \t]{1,8})",
        replace_by(""),
    ),
    Rule("mark of a song", r"[ \t]#(?=[ \t]{0,8}(?:\n|$))", replace_by("")),
    Rule("mark of a speaker", "<<|>>", replace_by("")),
)
RULES = (
    Rule(
        "minus",
        r"(?<![\w)\]%$-])-(?=\.?\d|[$\u00a2-\u00a5\u20a0-\u20c0])"
        r"|(?:(?<=[=+*/(])|(?<=[=+*/(]\s))-(?=[A-Za-z](?![A-Za-z]))",
        replace_by("minus"),
    ),
    Rule("range", r"(?<=[\d%])-(?=[\d$])|(?<=\d(?:st|nd|rd|th))-(?=\d)", replace_by("to")),
    Rule("range", r"(?<=\d)--(?=\d)", replace_by("to minus")),
    Rule("arrow", "<?[-=]{1,2}>", replace_by("to")),
    Rule("comparison", "<=", replace_by(NAMES["\u2264"])),
    Rule("comparison", ">=", replace_by(NAMES["\u2265"])),
    Rule("comparison", "!=", replace_by(NAMES["\u2260"])),
    Rule("approximately", r"~(?=\s?[\d$.])", replace_by("approximately")),
    Rule("sections", "\u00a7\u00a7", replace_by("sections")),
    Rule("times", r"(?<=[\d)])\s?\*\s?(?=[\d(])", replace_by("times")),
    Rule("divided by", r"(?<=\d)\s/\s(?=\d{1,9}\s?=)", replace_by("divided by")),
    Rule("star", r"(?<![\w*])\*(?=\d)", replace_by("star")),
    Rule("equals", "={1,2}", replace_by("equals")),
    Rule("and", "&{1,2}", replace_by("and")),
    Rule("sign", rf"{one_of(NAMES)}|[^\x00-\x7f]", lambda m: name_sign(m[0])),
)
