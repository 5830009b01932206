"""Frames: classes that differ, and faces in their boxes."""

import numpy as np

from vssflow_jax.corpus import face, render, scenes, sounds, voices


def test_classes_differ_in_color_at_thumbnail_size():
    means = []
    for name in sounds.CLASSES:
        rng = np.random.default_rng(3)
        scene = scenes.draw_scene(name, 4.0, render.RATE, rng)
        frames = render.render_frames(
            None, render.Source(scene=scene, box=(4, 4, 124, 124)), 50, rng
        )
        means.append(frames.reshape(50, 16, 8, 16, 8, 3).mean((0, 2, 4)))
    means = np.array(means).reshape(len(means), -1)
    apart = np.sqrt(((means[:, None] - means[None]) ** 2).mean(-1))
    assert apart[~np.eye(len(means), dtype=bool)].min() > 12


def test_mouth_box_holds_all_that_moves_when_a_mouth_speaks():
    look = voices.load_voices("espeak").voices[0].look
    sounds_said = [(0.2 * k, 0.2 * k + 0.2, s) for k, s in enumerate(("AA1", "IY1", "F", "M"))]
    for scale in (0.7, 1.05):
        speaker = render.Speaker(look=look, sounds=sounds_said, x=64, y=60, scale=scale)
        silent = render.Speaker(look=look, sounds=[], x=64, y=60, scale=scale)
        talk, rest = (
            render.render_frames(s, None, 25, np.random.default_rng(4)) for s in (speaker, silent)
        )
        ys, xs = np.nonzero((talk != rest).any((0, 3)))
        x0, y0, x1, y1 = speaker.mouth
        assert x0 <= xs.min() and xs.max() < x1 and y0 <= ys.min() and ys.max() < y1
        assert xs.max() - xs.min() > 0.5 * (x1 - x0)
        assert 0 <= x0 < x1 <= render.SIDE and 0 <= y0 < y1 <= render.SIDE


def test_mouth_boxes_lie_in_the_picture():
    rng = np.random.default_rng(0)
    for task in ("speech", "joint") * 200:
        (x, y, scale), _ = render.draw_layout(task, rng)
        x0, y0, x1, y1 = face.locate_mouth(x, y, scale)
        assert 0 <= x0 < x1 <= render.SIDE and 0 <= y0 < y1 <= render.SIDE
