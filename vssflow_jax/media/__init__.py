"""Media files to arrays and back, by PyAV."""

from vssflow_jax.media.reading import (
    MediaInfo,
    Pictures,
    Video,
    probe,
    read_audio,
    read_video,
)
from vssflow_jax.media.writing import mux, pcm, write_video, write_wav

__all__ = [
    "MediaInfo",
    "Pictures",
    "Video",
    "mux",
    "pcm",
    "probe",
    "read_audio",
    "read_video",
    "write_video",
    "write_wav",
]
