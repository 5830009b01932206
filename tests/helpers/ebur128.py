"""Loudness and true peak by FFmpeg's meter, to compare with ours."""

import fractions

import av
import numpy as np


def measure(wave, sample_rate, layout=None):
    """(LUFS, dBTP) of a wave [n] or [n, A] by the filter ebur128."""
    planes = np.ascontiguousarray(np.atleast_2d(np.asarray(wave, np.float32).T))
    layout = layout or {1: "mono", 2: "stereo", 6: "5.1"}[len(planes)]
    graph = av.filter.Graph()
    source = graph.add_abuffer(
        sample_rate=sample_rate,
        format="fltp",
        layout=layout,
        time_base=fractions.Fraction(1, sample_rate),
    )
    meter = graph.add("ebur128", "peak=true:metadata=1:framelog=quiet")
    sink = graph.add("abuffersink")
    source.link_to(meter)
    meter.link_to(sink)
    graph.configure()
    readings = {}
    for begin in range(0, planes.shape[1], sample_rate):
        part = np.ascontiguousarray(planes[:, begin : begin + sample_rate])
        frame = av.AudioFrame.from_ndarray(part, "fltp", layout)
        frame.sample_rate, frame.pts = sample_rate, begin
        frame.time_base = fractions.Fraction(1, sample_rate)
        graph.push(frame)
        readings |= _pull(sink)
    graph.push(None)
    readings |= _pull(sink)
    peak = float(readings["lavfi.r128.true_peak"])
    return float(readings["lavfi.r128.I"]), 20 * np.log10(max(peak, 1e-9))


def _pull(sink):
    readings = {}
    while True:
        try:
            readings |= sink.pull().metadata
        except (av.error.BlockingIOError, av.error.EOFError):
            return readings
