"""Templates escape, name what they lack, and carry sounds that survive."""

import io

import av
import jinja2
import numpy as np
import pytest
from helpers.fixtures import make_tone
from helpers.html_pages import HOSTILE, Page

from vssflow_jax.reports import html


def test_values_are_escaped_in_text_and_in_attributes():
    image = html.Image(uri="data:," + HOSTILE, alt=HOSTILE, sources=[(HOSTILE, HOSTILE)])
    figures = [html.Figure(caption=HOSTILE, image=image)]
    page = Page(html.render("spectrograms.html", figures=figures))
    assert [tag for tag, _ in page.tags] == [
        *("div", "figure", "figcaption", "picture", "source", "img")
    ]
    attributes = dict(page.tags)
    assert attributes["img"] == {"src": "data:," + HOSTILE, "alt": HOSTILE}
    assert attributes["source"] == {"media": HOSTILE, "srcset": HOSTILE}
    assert page.text.strip() == HOSTILE


def test_a_missing_value_is_an_error():
    with pytest.raises(jinja2.UndefinedError, match="text"):
        html.render("status.html", error=False)


def test_a_sound_survives_the_page():
    wave = make_tone(1.5, 330)
    data = html.encode_mp3(wave)
    with av.open(io.BytesIO(data)) as container:
        frames = [frame.to_ndarray() for frame in container.decode(audio=0)]
    back = np.concatenate(frames, axis=1)[0]
    assert abs(len(back) - len(wave)) <= 1152
    length = min(len(back), len(wave))
    assert np.corrcoef(back[:length], wave[:length])[0, 1] > 0.99
