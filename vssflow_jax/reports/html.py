"""What pages are made of: style, figures, pictures and sounds that carry their own bytes."""

from __future__ import annotations

import base64
import html
import io

import av
import numpy as np

from vssflow_jax import media
from vssflow_jax.conditions import SAMPLE_RATE

BIT_RATE = 64_000  # of sounds in a page

CSS = """
:root{color-scheme:light dark;--ground:#f5f6f8;--card:#fff;--ink:#1c2126;--soft:#59626c;
--line:#dde1e6;--accent:#0b62c4}
@media(prefers-color-scheme:dark){:root{--ground:#111417;--card:#1b1f24;--ink:#e6eaee;
--soft:#a3adb8;--line:#343a42;--accent:#6cb2ff}}
*{box-sizing:border-box}
body{margin:0;background:var(--ground);color:var(--ink);font:16px/1.55 system-ui,sans-serif}
main{max-width:1160px;margin:auto;padding:24px 20px 64px}
h1{font-size:1.75rem;line-height:1.2;margin:.4em 0 .5em}
h2{font-size:1.3rem;margin:2.2em 0 .5em}
h3{font-size:1.05rem;margin:0 0 .5em}
h4{font-size:1rem;margin:0 0 .1em;overflow-wrap:anywhere}
p{margin:.4em 0 .9em;max-width:75ch}
.soft,figcaption,small,.note{color:var(--soft);font-size:.875rem}
.note{margin:.2em 0 .7em}
.card{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:16px}
article.card{margin:0 0 20px}
figure{margin:0;min-width:0}
img{display:block;width:100%;height:auto}
.curves,.scores,.players{display:grid;gap:16px}
.curves{grid-template-columns:repeat(3,1fr)}
.curves .wide{grid-column:span 2}
.curves figcaption{color:var(--ink);margin-bottom:8px}
.scores{grid-template-columns:repeat(auto-fit,minmax(min(100%,500px),1fr));align-items:start}
.players{grid-template-columns:repeat(3,1fr);margin-top:14px}
.players figcaption{color:var(--ink);font-weight:600;font-size:.9rem}
audio{display:block;width:100%;height:40px;margin:4px 0}
.views{background:#1b1f24;color:#b9c2cc;border-radius:8px;padding:10px;overflow-x:auto}
.views figure{min-width:720px}
.views figure+figure{margin-top:8px}
.views figcaption{color:#b9c2cc}
table{width:100%;border-collapse:collapse;font-size:.9rem;font-variant-numeric:tabular-nums}
th,td{padding:6px 0 6px 10px;text-align:right;border-top:1px solid var(--line);
vertical-align:baseline}
th:first-child{text-align:left;font-weight:400;padding-left:0}
thead th{border:0;color:var(--soft);font-size:.8rem;font-weight:400}
th small{display:block}
td:nth-child(2){font-weight:600}
td:nth-child(3){color:var(--soft)}
td{white-space:nowrap}
pre{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:12px 14px;
white-space:pre-wrap;overflow-wrap:anywhere;font-size:.85rem;line-height:1.45}
details{margin:.6em 0}
summary{cursor:pointer;color:var(--accent)}
a{color:var(--accent)}
@media(max-width:860px){.curves,.players{grid-template-columns:minmax(0,1fr)}
.curves .wide{grid-column:auto}main{padding:12px 12px 48px}.card{padding:12px}}
@media(max-width:520px){tr{display:grid;grid-template-columns:1fr 1.5fr 1fr}
tbody th{grid-column:1/-1}thead th:first-child{display:none}td,thead th{border:0;padding-left:0}
tbody small{display:inline}}
"""


def escape(value) -> str:
    """Text that may stand anywhere in the page, in quoted attributes as well."""
    return html.escape(str(value), quote=True)


def data_uri(data: bytes, kind: str) -> str:
    """Bytes as the address of themselves."""
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def picture(data: bytes, alt: str, kind: str = "image/png") -> str:
    """An image that carries its bytes."""
    return f'<img src="{data_uri(data, kind)}" alt="{escape(alt)}">'


def figure(caption: str, body: str, kind: str = "") -> str:
    """A figure with its caption (HTML) above it."""
    name = f' class="{kind}"' if kind else ""
    return f"<figure{name}><figcaption>{caption}</figcaption>{body}</figure>"


def mp3(wave: np.ndarray) -> bytes:
    """A mono wave, float32 [n] at 16 kHz in [-1, 1], as a small file that every browser plays."""
    out = io.BytesIO()
    with av.open(out, "w", format="mp3") as container:
        stream = container.add_stream("libmp3lame", rate=SAMPLE_RATE, layout="mono")
        stream.bit_rate = BIT_RATE
        frame = av.AudioFrame.from_ndarray(media.to_int16(wave)[None], "s16p", "mono")
        frame.sample_rate = SAMPLE_RATE
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return out.getvalue()


def player(title: str, wave: np.ndarray, note: str) -> str:
    """A figure that plays a wave, float32 [n] at 16 kHz; `note` (HTML) stands below."""
    label = escape(title)
    sound = (
        f'<audio controls preload="metadata" aria-label="{label}" '
        f'src="{data_uri(mp3(wave), "audio/mpeg")}"></audio>'
    )
    return figure(label, sound + (f'<div class="soft">{note}</div>' if note else ""))


def document(title: str, body: str) -> str:
    """A whole HTML file."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{CSS}</style></head>"
        f"<body><main>{body}</main></body></html>\n"
    )
