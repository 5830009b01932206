"""VGGish and CNN14 under the distances: their front ends, batches, and scores made with them."""

import numpy as np
import pytest
from helpers import tiny_encoders, unseen_sizes
from helpers.parity_measures import relative

from vssflow_jax import media
from vssflow_jax.common.errors import InputError
from vssflow_jax.encoders import cnn14, vggish
from vssflow_jax.evaluation import aggregate, evaluator
from vssflow_jax.evaluation.metrics import distances, published, suite
from vssflow_jax.generation import scoring

BOUND = 5e-5


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """Small random ones, where they are looked for."""
    monkeypatch.setenv("VSSFLOW_WEIGHTS", str(tmp_path))
    for kind in published.NAMES:
        tiny_encoders.convert(kind, tmp_path)
    return tmp_path


# ---- front ends ---------------------------------------------------------------------------


def test_patches_are_torchvggishs():
    wave = unseen_sizes.rumble(3.1)
    expected = unseen_sizes.torchvggish_mels(wave)
    if expected is None:
        pytest.skip("torchvggish is not installed")
    made = vggish.patches(wave)
    assert made.shape == (3, 96, 64)
    assert relative(made.reshape(-1, 64), expected[: 3 * 96]) <= 1e-6


@pytest.mark.parametrize(("window", "rate"), [(1024, 32_000), (512, 16_000)])
def test_spectra_are_torchlibrosas(window, rate):
    stft = pytest.importorskip("torchlibrosa.stft")
    torch = pytest.importorskip("torch")
    config = cnn14.Cnn14Config(window=window)
    assert config.sample_rate == rate
    wave = unseen_sizes.rumble(1.7, rate=rate)
    theirs = stft.Spectrogram(n_fft=window, hop_length=rate // 100, win_length=window)
    expected = theirs(torch.tensor(wave)[None])[0, 0].numpy()
    assert relative(cnn14.spectra(wave, config), expected) <= BOUND


def test_known_answers_without_those_packages():
    """A tone is loudest in the band and the bin of its pitch."""
    time = np.arange(32_000) / 16_000
    tone = np.sin(2 * np.pi * 1000 * time).astype(np.float32)
    mels = 1127 * np.log1p(np.array([125, 1000, 7500]) / 700)
    band = round(65 * (mels[1] - mels[0]) / (mels[2] - mels[0])) - 1
    assert set(vggish.patches(tone)[0].argmax(1)) == {band}
    power = cnn14.spectra(tone, cnn14.Cnn14Config(window=512))
    assert power.shape == (201, 257)
    # 1000 Hz in steps of 31.25 Hz; the edges hear the wave turned around.
    assert set(power[2:-2].argmax(1)) == {32}
    silence = vggish.patches(np.zeros(100, np.float32))
    np.testing.assert_allclose(silence, np.full((1, 96, 64), np.log(0.01)), rtol=1e-6)


# ---- batches ------------------------------------------------------------------------------


def test_a_clip_is_heard_alike_alone_and_among_longer_ones(weights):
    waves = [
        unseen_sizes.rumble(seconds, seed) for seed, seconds in enumerate((0.7, 2.33, 0.1, 1.5))
    ]
    embed = published.load("cnn14")
    features, logits = embed(waves)
    for k, wave in enumerate(waves):
        alone = embed([wave])
        assert relative(features[k], alone[0][0]) <= BOUND
        assert relative(logits[k], alone[1][0]) <= BOUND
    assert features[0].shape == (8,) and logits[0].shape == (5,)
    assert embed([]) == ([], []) and published.load("vggish")([]) == ([], None)


def test_vggish_hears_every_whole_patch(weights):
    embed = published.load("vggish")
    waves = [unseen_sizes.rumble(4.0, 1), unseen_sizes.rumble(0.5, 2), unseen_sizes.rumble(33.0, 3)]
    features, logits = embed(waves)
    assert [part.shape for part in features] == [(4, 6), (1, 6), (34, 6)] and logits is None
    assert relative(features[0], embed(waves[:1])[0][0]) <= BOUND


# ---- scores -------------------------------------------------------------------------------


def test_a_distance_in_many_dimensions_is_that_in_the_few_that_are_used():
    rng = np.random.default_rng(3)
    first, second = rng.normal(size=(12, 5)), rng.normal(0.5, 2, size=(9, 5))
    turned = np.linalg.qr(rng.normal(size=(300, 5)))[0].T
    expected = distances.frechet(first, second)
    assert distances.frechet(first @ turned, second @ turned) == pytest.approx(expected, rel=1e-9)


def test_parts_of_clips_are_all_counted_and_clips_left_out_whole():
    rng = np.random.default_rng(0)
    row = dict.fromkeys(suite.COLUMNS)

    def some(shift):
        parts = [rng.normal(shift, 1, (count, 3)) for count in (1, 4, 2, 3)]
        return [suite.Scored(row=row, features=part, logits=None) for part in parts]

    truths, found = some(0), some(1)
    scores = aggregate.of_task(found, [], truths, [])
    stacked = (np.concatenate([s.features for s in part]) for part in (truths, found))
    assert scores["frechet"] == pytest.approx(distances.frechet(*stacked))
    assert scores["frechet_ci95"][0] < scores["frechet"] < scores["frechet_ci95"][1]
    assert not {"kl", "inception_score"} & scores.keys()


@pytest.mark.parametrize(
    ("name", "scored"), [("cnn14", {"frechet", "kl", "inception_score"}), ("vggish", {"frechet"})]
)
def test_a_folder_is_scored_with_them(name, scored, tiny_run, weights, tmp_path):
    records = evaluator.shards.open_split(tiny_run / "shards", "train", with_wave=True)
    clips = [
        r for r in map(records.__getitem__, range(len(records))) if r["meta"]["task"] == "sound"
    ]
    generated = tmp_path / "generated"
    for clip in clips[:2]:
        media.write_wav(generated / f"{clip['meta']['id']}.wav", evaluator.wave_of(clip))
    metrics = scoring.evaluate(
        shards=tiny_run / "shards", split="train", generated=generated, clips=2, embedding=name
    )
    assert metrics["run"]["embedding"] == {"name": name, "hash": published.load(name).hash}
    names = {"frechet", "kl", "inception_score"} & metrics["sound"].keys()
    assert metrics["sound"]["clips"] == 2 and names == scored
    assert metrics["sound"]["frechet"] == pytest.approx(0, abs=1e-3)


def test_weights_that_are_nowhere_say_what_to_put_where(tmp_path, monkeypatch):
    monkeypatch.setenv("VSSFLOW_WEIGHTS", str(tmp_path))
    with pytest.raises(InputError, match=r"--kind=cnn14 --src=Cnn14_mAP=0\.431\.pth"):
        published.load("cnn14")
