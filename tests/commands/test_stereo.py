"""A run at 48 kHz in stereo, from videos to a page: `configs/joint_48k.py` with a tiny codec."""

import av
import jax
import numpy as np
import pytest
from helpers import fixtures, in_process, tiny_configs

from vssflow_jax import media
from vssflow_jax.codecs.interface import save_codec
from vssflow_jax.codecs.oobleck import OobleckCodec, OobleckConfig
from vssflow_jax.web.studio import Form, Studio
from vssflow_jax.weights import oobleck

CODEC = OobleckConfig(
    width=8, decoder_width=4, ratios=(40, 48), multiples=(1, 1), latent_channels=4
)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a tiny run on clips of MiniAV, stored at 48 kHz in stereo."""
    workdir = tmp_path_factory.mktemp("stereo")
    rng = np.random.default_rng(0)
    params = jax.tree.map(
        lambda leaf: (0.1 * rng.standard_normal(leaf.shape)).astype(np.float32),
        oobleck.oobleck_shapes(CODEC),
    )
    save_codec(OobleckCodec(config=CODEC, **params), workdir / "oobleck")
    flags = (
        "--config.data.sample_rate=48000",
        "--config.data.audio_channels=2",
        "--config.codec.name=oobleck",
        f"--config.codec.folder={workdir / 'oobleck'}",
        "--config.train.steps=2",
        "--config.train.sample_every=2",
        "--config.train.evaluate=True",
        "--config.train.evaluate_clips=2",
    )
    done = tiny_configs.train(workdir / "run", *flags)
    assert done.returncode == 0, done.stderr
    return workdir / "run"


def describe_audio(path):
    """(sample rate, channels, seconds) of a file's audio track."""
    with av.open(str(path)) as file:
        (stream,) = file.streams.audio
        seconds = len(media.read_audio(path, stream.rate)) / stream.rate
        return stream.rate, stream.channels, round(seconds, 2)


@pytest.mark.slow
def test_a_video_gets_a_stereo_track_at_48_khz_and_stems(run, tmp_path):
    video = fixtures.write_video(tmp_path / "in.mp4", seconds=10, sound=False)
    done = in_process.run(
        "sample",
        f"--workdir={run}",
        f"--video={video}",
        "--text=set blue",
        "--stems",
        "--steps=2",
        f"--out={tmp_path / 'out.mp4'}",
    )
    assert done.returncode == 0, done.stderr
    for name in ("out.mp4", "out.wav", "out.speech.wav", "out.sound.wav"):
        assert describe_audio(tmp_path / name) == (48_000, 2, 10.0), name


@pytest.mark.slow
def test_samples_scores_and_report_have_the_codec_s_sound(run):
    for pattern in ("samples/2/*.wav", "eval/generated/*/*.wav", "eval/floor/*.wav"):
        paths = list(run.glob(pattern))
        assert paths and all(describe_audio(path)[:2] == (48_000, 2) for path in paths), pattern
    assert (run / "report.html").read_text().count("<audio") > 0


@pytest.mark.slow
def test_a_folder_of_its_waves_gets_its_scores(run, tmp_path):
    shards, out = run / "shards", tmp_path / "scores"
    flags = (f"--shards={shards}", f"--generated={run / 'eval' / 'generated' / 'sound'}")
    done = in_process.run("evaluate", *flags, "--clips=2", f"--out={out}")
    assert done.returncode in (0, 3), done.stderr  # 3: the other tasks have no files
    assert (out / "metrics.json").exists()


@pytest.mark.slow
def test_the_page_shows_a_stereo_result(run, tmp_path):
    from vssflow_jax import Generator

    form = Form(text="set blue", steps=2, candidates=2)
    *_, result = Studio(Generator.from_workdir(run)).generate(form, tmp_path)
    assert describe_audio(tmp_path / "result.wav")[:2] == (48_000, 2)
    assert "<img" in result.view.spectrograms
