"""Media files to arrays and back, by PyAV."""

from vssflow_jax.media.muxing import MuxPlan, check_subtitles, mux, plan_mux
from vssflow_jax.media.sound import (
    AUDIBLE,
    LAYOUTS,
    Sound,
    TrackHeader,
    is_audible,
    read_audio,
    read_sound,
    read_track_header,
)
from vssflow_jax.media.video import (
    FrameReader,
    MediaHeader,
    MediaInfo,
    Video,
    probe,
    read_header,
    read_video,
)
from vssflow_jax.media.writing import Metadata, Subtitle, to_int16, write_video, write_wav

__all__ = [
    "AUDIBLE",
    "LAYOUTS",
    "FrameReader",
    "MediaHeader",
    "MediaInfo",
    "Metadata",
    "MuxPlan",
    "Sound",
    "Subtitle",
    "TrackHeader",
    "Video",
    "check_subtitles",
    "is_audible",
    "mux",
    "plan_mux",
    "probe",
    "read_audio",
    "read_header",
    "read_sound",
    "read_track_header",
    "read_video",
    "to_int16",
    "write_video",
    "write_wav",
]
