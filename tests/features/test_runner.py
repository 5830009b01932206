"""Published encoders at work: batches of clips, missing conditions, sets by condition."""

import numpy as np
import pytest
from helpers import fixtures
from helpers import tiny_encoders as small

from vssflow_jax import conditions
from vssflow_jax.common.errors import InputError
from vssflow_jax.data import shards
from vssflow_jax.features import registry, runner
from vssflow_jax.features.face_tracking import MouthTrack
from vssflow_jax.features.registry import EncoderInputs
from vssflow_jax.preparation.prepare import prepare


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    for kind in registry.PUBLISHED:
        small.convert_random(kind, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VSSFLOW_WEIGHTS", str(folder))
        yield folder


def voice(seed, seconds):
    return (0.1 * np.random.default_rng(seed).standard_normal(round(seconds * 16_000))).astype("f4")


def clip(count, seconds=None, seed=0):
    frames = fixtures.make_frames(count)
    mouth = MouthTrack.from_boxes(np.broadcast_to([5.0, 5.0, 25.0, 25.0], (count, 4)))
    return EncoderInputs(
        duration=seconds or count / 25, frames=frames, mouth=mouth, speaker_wave=voice(seed, 1.0)
    )


def test_clips_together_are_as_each_alone(weights):
    clips = [clip(30), EncoderInputs(duration=1.0), clip(12, seed=1), clip(55, 3.0, seed=2)]
    together = registry.encode_examples(clips, "published")
    assert together[1] == {}
    for one, example in zip(clips, together, strict=True):
        alone = registry.encode_examples([one], "published")[0]
        assert example.keys() == alone.keys()
        for name, features in example.items():
            assert features.dtype == np.float16 and np.isfinite(features).all()
            np.testing.assert_allclose(features, alone[name], rtol=5e-3, atol=5e-3)
    rows = {e.condition: e for e in registry.select_encoders("published")}
    assert rows["sync"].rate == 24 and rows["clip"].rate == 10
    for name in ("clip", "sync"):
        wanted = conditions.num_frames(name, 3.0, rows[name].rate)
        assert together[3][name].shape == (wanted, rows[name].width)
    assert together[3]["lips"].shape == (55, 64) and together[3]["speaker"].shape == (12,)


def test_what_is_missing_stays_missing(weights):
    assert registry.encode_example(fixtures.make_frames(10), encoder_set="published").keys() == {
        "clip", "sync",
    }  # fmt: skip
    assert registry.encode_example(speaker_wave=voice(0, 1), encoder_set="published").keys() == {
        "speaker"
    }
    assert registry.encode_example(encoder_set="published") == {}
    with pytest.raises(InputError, match="silence"):
        registry.encode_example(speaker_wave=np.zeros(16_000, "f4"), encoder_set="published")


def test_a_set_may_be_chosen_by_condition(weights):
    example = registry.encode_example(
        fixtures.make_frames(25), voice(0, 1), encoder_set="clip=built-in,sync=published"
    )
    assert example["clip"].shape == (10, 768) and example["sync"].shape == (24, 64)
    assert example.keys() == {"clip", "sync"}
    schema = shards.describe_features(registry.select_encoders("clip=built-in,sync=published"))
    assert schema["sync"]["encoder"] == "synchformer" and schema["sync"]["rate"] == 24
    for wrong in ("clip=publishd", "smell=published", "publish", "clip=built-in,", "=bundled"):
        with pytest.raises(InputError, match="encoders: found"):
            registry.select_encoders(wrong)
    with pytest.raises(InputError, match="encoders: found 'clip' twice, expected it once"):
        registry.select_encoders("clip=published,sync=built-in,clip=built-in")


def test_the_hash_is_that_of_the_weights(weights, tmp_path, monkeypatch):
    before = registry.load_encoder("speaker", "speaker", "rawnet3").hash
    small.convert_random("speaker", tmp_path, seed=1)
    monkeypatch.setenv("VSSFLOW_WEIGHTS", str(tmp_path))
    assert registry.load_encoder("speaker", "speaker", "rawnet3").hash != before


def test_frames_after_the_end_are_black(weights):
    """As in the official preparation, which lays every clip on ten seconds."""
    short = clip(40)
    frames = np.concatenate([short.frames, np.zeros((60, *short.frames.shape[1:]), np.uint8)])
    longer = EncoderInputs(duration=4.0, frames=frames)
    for kind in ("clip", "sync"):
        a, b = runner.encode_condition(
            kind, [EncoderInputs(duration=4.0, frames=short.frames), longer]
        )
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_lips_do_not_see_how_far_they_are_padded(weights):
    one, run = clip(26), runner.load_encoder("lips")[1]
    crops = one.mouth.crop(one.frames)
    padded = runner.encode_crops([crops], 75, 1)[0, :26]
    plain = np.asarray(run((crops[None], np.ones((1, 26), bool))))[0]
    np.testing.assert_allclose(padded, plain, atol=2e-5)


def test_processes_ask_the_one_that_holds_the_device(weights, tmp_path):
    """Workers decode and the main process encodes; the shards are those of one process."""
    rows = ["id,video,text,split"]
    for number in range(4):
        fixtures.write_video(tmp_path / f"{number}.mp4", 1.0 + number % 2 / 2, seed=number)
        rows.append(f"c{number},{number}.mp4,{'set blue' if number % 2 else ''},train")
    (tmp_path / "clips.csv").write_text("\n".join(rows) + "\n")
    (tmp_path / "annotations.jsonl").write_text('{"id": "c1", "mouth": [5, 5, 25, 25]}\n')
    contents = []
    for workers in (0, 2):
        out = tmp_path / str(workers)
        prepare(tmp_path / "clips.csv", out, workers=workers, encoder_set="published",
                clips_per_shard=3, progress=False)  # fmt: skip
        contents.append({path.name: path.read_bytes() for path in out.iterdir()})
    assert contents[0] == contents[1] and "train-00001.array_record" in contents[0]
