"""Events: seen and heard at the same time."""

import librosa
import numpy as np
import pytest

from vssflow_jax import media
from vssflow_jax.corpus import props, render, scenes, sounds

FRAME = 1 / render.RATE


def test_attacks_are_audible_within_a_frame_of_every_contact(corpus, rows, annotations):
    checked = 0
    for row in rows:
        onsets = annotations[row["id"]].get("onsets")
        if row["task"] == "sound" and onsets:
            wave = media.read_audio(corpus / row["video"])
            hop = 80
            detected = librosa.onset.onset_detect(y=wave, sr=16_000, hop_length=hop, units="time")
            for onset in onsets:
                assert np.abs(detected - onset).min() <= FRAME
            checked += len(onsets)
    assert checked > 8


@pytest.mark.parametrize("name", sounds.MATERIALS)
def test_sound_starts_at_contact_and_sight_flashes_with_it(name):
    rng = np.random.default_rng(1)
    scene = scenes.draw_scene(name, 4.0, render.RATE, rng)
    assert np.diff(scene.onsets).min() >= scenes.GAP - 1e-9
    assert scene.onsets[0] >= scenes.FIRST and scene.onsets[-1] <= 4.0 - scenes.LAST
    wave = np.abs(scenes.synthesize_scene(scene, 64_000, render.RATE, rng))
    first = round(scene.onsets[0] * 16_000)
    assert wave[:first].max(initial=0) == 0
    assert wave[first : first + 160].max() > 0.1
    frames = render.render_frames(
        None, render.Source(scene=scene, box=(10, 10, 118, 118)), 100, rng
    )
    change = np.abs(np.diff(frames.astype(float), axis=0)).mean((1, 2, 3))
    contact = np.ceil(np.round(scene.onsets * render.RATE, 6)).astype(int) - 1  # into that frame
    others = np.setdiff1d(np.arange(99), np.concatenate([contact, contact + 1, contact - 1]))
    assert change[contact].mean() > 1.5 * change[others].mean()


def test_strikers_are_down_at_contact():
    scene = scenes.Scene(
        name="metal", size=1.0, onsets=np.array([1.0, 1.5]), strengths=np.array([1.0, 0.8])
    )
    assert props.measure_lift(scenes.describe_moment(scene, 1.0)) < 1e-6
    assert props.measure_lift(scenes.describe_moment(scene, 1.0 - 1e-6)) < 1e-3
    assert props.measure_lift(scenes.describe_moment(scene, 1.25)) > 0.9
    assert scenes.describe_moment(scene, 1.0).flash == 1.0
    assert scenes.describe_moment(scene, 0.99).flash == 0.0
