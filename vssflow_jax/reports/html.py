"""HTML from the files in `templates/`, with autoescape, and media embedded as data URIs."""

from __future__ import annotations

import base64
import dataclasses
import io
from collections.abc import Sequence

import av
import jinja2
import numpy as np

from vssflow_jax import media
from vssflow_jax.common.waves import resample
from vssflow_jax.conditions import SAMPLE_RATE
from vssflow_jax.reports import plots

BIT_RATE = 64_000  # of a channel of embedded sounds
MP3_RATES = (8000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)

_ENVIRONMENT = jinja2.Environment(
    loader=jinja2.PackageLoader("vssflow_jax.reports"),
    autoescape=True,  # ids, texts and names in a page come from other people's files
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_ENVIRONMENT.globals.update(light=plots.LIGHT, dark=plots.DARK)


def render(template: str, **values) -> str:
    """A file of `templates/` with its values; strings among them are escaped."""
    return _ENVIRONMENT.get_template(template).render(**values)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Image:
    """An embedded image.

    Attributes:
      uri: the image as a data URI.
      alt: what it shows, for those who do not see it.
      sources: alternatives, (media query, data URI), of which the first that matches is shown.
    """

    uri: str
    alt: str
    sources: Sequence[tuple[str, str]] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Figure:
    """An image under its caption."""

    caption: str
    image: Image
    wide: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class Player:
    """An embedded sound with controls, its title above and a note below."""

    title: str
    uri: str
    note: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Card:
    """An example on a page.

    Attributes:
      id: of the example.
      facts: what is known about it.
      figures: plots on one time axis.
      players: its sounds.
    """

    id: str
    facts: str
    figures: Sequence[Figure]
    players: Sequence[Player]


def data_uri(data: bytes, media_type: str) -> str:
    """A URI that contains the data itself."""
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


def embed_image(data: bytes, alt: str, media_type: str = "image/png") -> Image:
    """An image from the bytes of its file."""
    return Image(uri=data_uri(data, media_type), alt=alt)


def embed_sound(
    title: str, wave: np.ndarray, note: str = "", sample_rate: int = SAMPLE_RATE
) -> Player:
    """A player of a wave, float32 [n] or, in stereo, [n, 2]."""
    return Player(title=title, uri=data_uri(encode_mp3(wave, sample_rate), "audio/mpeg"), note=note)


def encode_mp3(wave: np.ndarray, sample_rate: int = SAMPLE_RATE) -> bytes:
    """A wave, float32 [n] or [n, 2] in [-1, 1], as a small file that every browser plays.

    MP3 has few sample rates: others are resampled to 48 kHz.
    """
    if sample_rate not in MP3_RATES:
        wave, sample_rate = resample(wave, sample_rate, MP3_RATES[-1]), MP3_RATES[-1]
    out = io.BytesIO()
    with av.open(out, "w", format="mp3") as container:
        planes = np.ascontiguousarray(np.atleast_2d(media.to_int16(wave).T))  # channels n
        layout = media.LAYOUTS[len(planes)]
        stream = container.add_stream("libmp3lame", rate=sample_rate, layout=layout)
        stream.bit_rate = BIT_RATE * len(planes)
        frame = av.AudioFrame.from_ndarray(planes, "s16p", layout)
        frame.sample_rate = sample_rate
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return out.getvalue()
