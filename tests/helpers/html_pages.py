"""Pages under test: a parser, and strings that must stay text."""

import html.parser

HOSTILE = """"><script>alert("x")</script><img src=x onerror='alert(1)'>&amp; 'me'"""


class Page(html.parser.HTMLParser):
    """Tags with their attributes, those inside each article, and the text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.articles, self.text = [], [], ""
        self._inside = False
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag == "article":
            self.articles.append([])
            self._inside = True
        if self._inside:
            self.articles[-1].append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        self._inside = self._inside and tag != "article"

    def handle_data(self, data):
        self.text += data


def add_hostile(value):
    """A value of JSON with HOSTILE behind each string, keys of dictionaries included."""
    if isinstance(value, dict):
        return {add_hostile(key): add_hostile(item) for key, item in value.items()}
    if isinstance(value, list):
        return [add_hostile(item) for item in value]
    return value + HOSTILE if isinstance(value, str) else value


def add_hostile_values(values):
    """A dictionary with HOSTILE behind each string but the keys, which readers look up."""
    return {
        key: add_hostile_values(item) if isinstance(item, dict) else add_hostile(item)
        for key, item in values.items()
    }


def assert_self_contained(text):
    """No script and no handler, and every address in the page is data."""
    for tag, attributes in Page(text).tags:
        assert tag not in ("script", "link", "iframe", "object"), tag
        for name, value in attributes.items():
            assert not name.startswith("on"), (tag, name)
            if name in ("src", "srcset", "href"):
                assert value.startswith("data:"), (tag, name)
