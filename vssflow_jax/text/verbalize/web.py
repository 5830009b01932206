"""Addresses: web, mail, handles, hashtags, files, telephone numbers."""

from __future__ import annotations

import re

from vssflow_jax.text.verbalize.abbreviations import spell_letters
from vssflow_jax.text.verbalize.numbers import spell_cardinal, spell_digits, spell_number
from vssflow_jax.text.verbalize.rule import Rule, one_of
from vssflow_jax.text.verbalize.words import SHORT, read_word

SIGNS = {
    "@": "at", ".": "dot", "/": "slash", "\\": "backslash", "-": "dash", "_": "underscore",
    "?": "question mark", "=": "equals", "&": "and", "%": "percent", "#": "hash", ":": "colon",
    "~": "tilde", "+": "plus",
}  # fmt: skip
DOMAINS = ("com", "org", "net", "edu", "gov", "mil", "int", "info", "biz", "io", "co", "ai",
           "app", "dev", "uk", "de", "fr", "ca", "au", "eu", "jp", "nl", "ch", "tv", "fm", "ly",
           "gg", "xyz", "online", "site", "tech", "blog", "shop")  # fmt: skip
FILES = ("js", "ts", "py", "txt", "pdf", "doc", "docx", "xls", "xlsx", "ppt", "pptx", "csv",
         "json", "xml", "html", "htm", "css", "md", "jpg", "jpeg", "png", "gif", "svg", "mp3",
         "mp4", "wav", "avi", "mkv", "mov", "webm", "zip", "tar", "gz", "exe", "sh", "cpp",
         "java", "yaml", "yml", "ini", "log", "NET")  # fmt: skip

_LABEL = r"[A-Za-z0-9_-]{1,63}"
_HOST = rf"(?:{_LABEL}\.){{1,5}}"
_TAIL = r"(?:[/?#:][^\s<>\"(){}\[\]]{0,500})?"
_TOKEN = re.compile(r"[A-Za-z]+|\d+|[^A-Za-z\d]")


def spell_address(address: str) -> str:
    """An address part by part: example dot com slash docs."""
    words = []
    for token in _TOKEN.findall(address):
        if token.isalpha():
            is_spelled = token in ("a", "A") or token.lower() in SHORT
            words.append(spell_letters(token) if is_spelled else read_word(token))
        elif token.isdigit():
            words.append(spell_cardinal(token))
        else:
            words.append(SIGNS.get(token, ""))
    return " ".join(words)


def _read_web(match: re.Match) -> str:
    return spell_address(re.sub(r"^[A-Za-z]{2,5}://", "", match[0]).rstrip(".,;:!?/'"))


def _read_file(match: re.Match) -> str:
    return spell_address(match[0])


def _read_hashtag(match: re.Match) -> str:
    tag = re.sub(r"(?<=[a-z\d])(?=[A-Z])|(?<=[A-Za-z])(?=\d)|(?<=\d)(?=[a-z])|_", " ", match[1])
    words = (spell_number(p) if p.isdigit() else read_word(p) for p in tag.split())
    return "hashtag " + " ".join(words)


def _read_phone_number(match: re.Match) -> str:
    return ("plus " if match[0].startswith("+") else "") + spell_digits(match[0])


_END = r"(?![\w-])"
RULES = (
    Rule("web address", r"(?i:(?<!\w)(?:https?|ftp|file)://)[^\s<>\"{}]{1,500}", _read_web),
    Rule(
        "mail address",
        rf"(?<![\w.+@-])(?:mailto:)?[\w.+-]{{1,64}}@{_HOST}[A-Za-z]{{2,24}}",
        lambda m: spell_address(m[0].removeprefix("mailto:")),
    ),
    Rule("web address", rf"(?<![\w.@-])(?i:www\.){_HOST}[A-Za-z]{{2,24}}{_TAIL}", _read_web),
    Rule(
        "web address",
        rf"(?<![\w.@-]){_HOST}(?i:{one_of(DOMAINS)}){_END}(?!\.\w){_TAIL}",
        _read_web,
    ),
    Rule(
        "file",
        rf"(?<![\w.@-])(?:{_LABEL}\.){{1,3}}{one_of(FILES)}{_END}",
        _read_file,
    ),
    Rule("file", rf"(?<!\w)\.{one_of([*FILES, *DOMAINS])}{_END}", _read_file),
    Rule(
        "path",
        r"(?<![\w/.])(?:[A-Za-z]:)?(?:[/\\][\w.@+-]{1,100}){2,20}[/\\]?"
        r"|(?<![\w/.])(?:~|\.{1,2})(?:/[\w.@+-]{1,100}){1,20}/?|"
        r"(?<!\w)[A-Za-z]:\\(?:[\w.-]{1,100})?",
        lambda m: spell_address(m[0].rstrip(".")),
    ),
    Rule("handle", r"(?<![\w@.])@(?=[A-Za-z_])", lambda m: "at"),
    Rule("hashtag", r"(?<![\w#&])#((?:\d{4}|\d{1,3}(?=[A-Z]))?[A-Za-z_]\w{1,100})", _read_hashtag),
    Rule(
        "telephone number",
        r"\+\d{1,3}[ .-]?(?:\(\d{1,4}\)[ .-]?)?\d{1,8}(?:[ .-]\d{2,8}){0,5}(?![\w-]|\.\d)",
        lambda m: None if sum(c.isdigit() for c in m[0]) < 7 else _read_phone_number(m),
    ),
    Rule(
        "telephone number",
        r"(?<![\w.-])(?:1[ .-])?(?:\(\d{3}\) ?|\d{3}[ .-])\d{3}[ .-]\d{4}(?![\w-])"
        r"|(?<![\w.-])(?:1-)?\d{3}-\d{4}(?![\w-])"
        r"|(?<![\w.-])1-8\d\d(?=-[A-Z])"
        r"|(?<![\w.-])0\d{1,4}(?: \d{3,8}){1,3}(?![\w-])"
        r"|(?<![\w.-])\d{4} \d{4} \d{4} \d{4}(?![\w-])",
        _read_phone_number,
    ),
)
