"""VGGish, CNN14 and PaSST embeddings: their front ends, batches, and scores with them."""

import numpy as np
import pytest
from helpers import tiny_encoders, unseen_sizes
from helpers.parity_measures import relative_error

from vssflow_jax import media
from vssflow_jax.common.errors import InputError
from vssflow_jax.data import pipeline, shards
from vssflow_jax.encoders import cnn14, vggish
from vssflow_jax.evaluation.metrics import published
from vssflow_jax.generation.scoring import EvaluationOptions, evaluate

BOUND = 5e-5


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """Small random weights where published ones are looked up."""
    monkeypatch.setenv("VSSFLOW_WEIGHTS", str(tmp_path))
    for kind in published.NAMES:
        tiny_encoders.convert_random(kind, tmp_path)
    return tmp_path


# ---- front ends ---------------------------------------------------------------------------


def test_patches_equal_torchvggish():
    wave = unseen_sizes.draw_wave(3.1)
    expected = unseen_sizes.torchvggish_mels(wave)
    if expected is None:
        pytest.skip("torchvggish is not installed")
    patches = vggish.log_mel_patches(wave)
    assert patches.shape == (3, 96, 64)
    assert relative_error(patches.reshape(-1, 64), expected[: 3 * 96]) <= 1e-6


@pytest.mark.parametrize(("window", "rate"), [(1024, 32_000), (512, 16_000)])
def test_spectra_equal_torchlibrosa(window, rate):
    stft = pytest.importorskip("torchlibrosa.stft")
    torch = pytest.importorskip("torch")
    config = cnn14.Cnn14Config(window=window)
    assert config.sample_rate == rate
    wave = unseen_sizes.draw_wave(1.7, rate=rate)
    theirs = stft.Spectrogram(n_fft=window, hop_length=rate // 100, win_length=window)
    expected = theirs(torch.tensor(wave)[None])[0, 0].numpy()
    assert relative_error(cnn14.power_spectra(wave, config), expected) <= BOUND


def test_a_tone_is_loudest_in_the_band_of_its_pitch():
    time = np.arange(32_000) / 16_000
    tone = np.sin(2 * np.pi * 1000 * time).astype(np.float32)
    mels = 1127 * np.log1p(np.array([125, 1000, 7500]) / 700)
    band = round(65 * (mels[1] - mels[0]) / (mels[2] - mels[0])) - 1
    assert set(vggish.log_mel_patches(tone)[0].argmax(1)) == {band}
    power = cnn14.power_spectra(tone, cnn14.Cnn14Config(window=512))
    assert power.shape == (201, 257)
    # 1000 Hz in steps of 31.25 Hz; the edges are reflected.
    assert set(power[2:-2].argmax(1)) == {32}
    silence = vggish.log_mel_patches(np.zeros(100, np.float32))
    np.testing.assert_allclose(silence, np.full((1, 96, 64), np.log(0.01)), rtol=1e-6)


# ---- batches ------------------------------------------------------------------------------


def test_features_do_not_depend_on_the_batch(weights):
    waves = [
        unseen_sizes.draw_wave(seconds, seed) for seed, seconds in enumerate((0.7, 2.33, 0.1, 1.5))
    ]
    embed = published.load("cnn14")
    features, logits = embed(waves)
    for k, wave in enumerate(waves):
        alone = embed([wave])
        assert relative_error(features[k], alone[0][0]) <= BOUND
        assert relative_error(logits[k], alone[1][0]) <= BOUND
    assert features[0].shape == (8,) and logits[0].shape == (5,)
    assert embed([]) == ([], []) and published.load("vggish")([]) == ([], None)


def test_vggish_has_features_of_every_full_patch(weights):
    embed = published.load("vggish")
    waves = [
        unseen_sizes.draw_wave(4.0, 1),
        unseen_sizes.draw_wave(0.5, 2),
        unseen_sizes.draw_wave(33.0, 3),
    ]
    features, logits = embed(waves)
    assert [part.shape for part in features] == [(4, 6), (1, 6), (34, 6)] and logits is None
    assert relative_error(features[0], embed(waves[:1])[0][0]) <= BOUND


# ---- scores -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "metrics"), [("cnn14", {"frechet", "kl", "inception_score"}), ("vggish", {"frechet"})]
)
def test_a_folder_is_scored_with_a_published_embedding(name, metrics, tiny_run, weights, tmp_path):
    folder, generated = tiny_run / "shards", tmp_path / "generated"
    records = shards.open_split(folder, "train", with_wave=True, tasks=("sound",))
    for record in (records[row] for row in range(2)):
        media.write_wav(generated / f"{record['meta']['id']}.wav", pipeline.read_wave(record))
    options = EvaluationOptions(
        shards=folder, split="train", generated=generated, clips=2, embedding=name
    )
    scores = evaluate(options)
    assert scores["run"]["embedding"] == {"name": name, "hash": published.load(name).hash}
    assert scores["sound"]["clips"] == 2
    assert {"frechet", "kl", "inception_score"} & scores["sound"].keys() == metrics
    assert scores["sound"]["frechet"] == pytest.approx(0, abs=1e-3)


def test_missing_weights_are_an_error_that_says_how_to_get_them(tmp_path, monkeypatch):
    monkeypatch.setenv("VSSFLOW_WEIGHTS", str(tmp_path))
    with pytest.raises(InputError, match=r"--kind=cnn14 --src=Cnn14_mAP=0\.431\.pth"):
        published.load("cnn14")


def test_passt_hears_ten_seconds_without_their_mean(weights):
    embed = published.load("passt")
    wave = unseen_sizes.draw_wave(1.5)
    waves = [wave, wave + np.float32(0.25), np.pad(wave, (0, 16_000))]
    features, logits = embed([*waves, wave, wave])
    assert len(features) == len(logits) == 5
    assert features[0].shape == (64,) and logits[0].shape == (5,)
    assert relative_error(features[1], features[0]) <= 1e-3
    np.testing.assert_allclose(features[4], features[0], rtol=1e-5)
