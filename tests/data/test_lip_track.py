"""Files with tracks of lips: what is written is read, and what is broken is refused."""

import numpy as np
import pytest

from vssflow_jax.common import safetensors_io
from vssflow_jax.common.errors import InputError
from vssflow_jax.data.lip_track import MEASUREMENTS, LipTrack, read_lip_track, write_lip_track


def make_track(frames=50):
    rng = np.random.default_rng(0)
    measurements = rng.normal(size=(frames, len(MEASUREMENTS))).astype(np.float32)
    return LipTrack(measurements, np.arange(frames) % 7 != 3)


def test_a_track_is_read_as_it_was_written(tmp_path):
    track, path = make_track(), tmp_path / "a.safetensors"
    write_lip_track(path, track)
    read = read_lip_track(path)
    np.testing.assert_array_equal(read.measurements, track.measurements)
    np.testing.assert_array_equal(read.seen, track.seen)


def test_an_interval_has_its_own_frames():
    part = make_track().select(0.8, 0.4)
    np.testing.assert_array_equal(part.measurements, make_track().measurements[20:30])
    np.testing.assert_array_equal(part.seen, make_track().seen[20:30])


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"seen": np.ones(4, np.float32)}, "missing tensors measurements"),
        ({"measurements": np.ones((4, 10), np.float32)}, "missing tensors seen"),
        ({"measurements": np.ones((4, 9), np.float32), "seen": np.ones(4, np.float32)}, "4, 10"),
        ({"measurements": np.ones((3, 10), np.float32), "seen": np.ones(4, np.float32)}, "4, 10"),
        ({"measurements": np.ones((4, 10), np.float32), "seen": np.zeros(4, np.float32)}, "face"),
        ({"measurements": np.full((4, 10), np.nan, np.float32), "seen": np.ones(4, np.float32)},
         "not finite"),
    ],
)  # fmt: skip
def test_broken_tracks_are_refused(tmp_path, arrays, message):
    safetensors_io.write_arrays(tmp_path / "a", arrays)
    with pytest.raises(InputError, match=f"a: .*{message}"):
        read_lip_track(tmp_path / "a")


def test_other_files_are_refused(tmp_path):
    (tmp_path / "a").write_text("x")
    for name in ("a", "b"):
        with pytest.raises(InputError, match="safetensors file"):
            read_lip_track(tmp_path / name)
