"""Mixing of speech and sound into joint examples: contents, probabilities, positions."""

import collections
import dataclasses
import json
import pickle

import jax
import numpy as np
import pytest

from vssflow_jax import conditions
from vssflow_jax.common.errors import InputError
from vssflow_jax.config import load_recipe
from vssflow_jax.data import mix, pipeline, shards
from vssflow_jax.train import train
from vssflow_jax.training import checkpoint

RATES = {"clip": 10.0, "sync": 24.0, "lips": 25.0, "phonemes": 25.0, "speaker": None}
SPEC = pipeline.BatchSpec.from_duration(4.0, RATES)


def make_record(task, seconds, value, without=()):
    """A record whose every feature is `value`."""
    rows = {name: round(seconds * rate) for name, rate in RATES.items() if rate}
    record = {"wave": np.full(round(seconds * 16_000), 100 * value, np.int16)}
    for name in ("clip", "sync"):
        record[name] = np.full((rows[name], 768), value, np.float16)
    record["speaker"] = np.full(256, value, np.float16)
    record["lips"] = np.full((rows["lips"], 1024), value, np.float16)
    if task == "speech":
        record["phonemes"] = np.full(rows["phonemes"], value, np.int32)
    meta = {"id": f"{task}{value}", "task": task, "duration": seconds, "text": "bin"}
    if task == "sound":
        del meta["text"]
    return {"meta": meta, **{k: v for k, v in record.items() if k not in without}}


def plan(mode="add", start=0.73, gain=0.5):
    return mix.MixPlan(mode=mode, start=start, gain=gain if mode == "add" else 0.0)


SPEECH, SOUND = make_record("speech", 2.0, 3), make_record("sound", 4.0, 5)


def find_runs(rows):
    """Runs of equal rows: [(value, count), ...]."""
    flat = rows.reshape(len(rows), -1)
    assert (flat == flat[:, :1]).all()
    edges = np.flatnonzero(np.diff(flat[:, 0])) + 1
    return [(float(part[0]), len(part)) for part in np.split(flat[:, 0], edges)]


def test_add_sums_features_and_turns_the_sound_down():
    joint = mix.mix_records(SPEECH, SOUND, plan(), RATES)
    assert find_runs(joint["clip"]) == [(5, 7), (8, 20), (5, 13)]
    assert find_runs(joint["sync"]) == [(5, 17), (8, 48), (5, 31)]
    assert find_runs(joint["wave"]) == [(500, 11_680), (550, 32_000), (500, 20_320)]


def test_insert_puts_the_speech_in_place():
    joint = mix.mix_records(SPEECH, SOUND, plan("insert"), RATES)
    assert find_runs(joint["clip"]) == [(5, 7), (3, 20), (5, 13)]
    assert find_runs(joint["sync"]) == [(5, 17), (3, 48), (5, 31)]
    assert find_runs(joint["wave"]) == [(500, 11_680), (300, 32_000), (500, 20_320)]


@pytest.mark.parametrize("mode", ["add", "insert"])
def test_words_lips_and_voice_are_the_speech_clips(mode):
    joint = mix.mix_records(SPEECH, SOUND, plan(mode), RATES)
    assert find_runs(joint["phonemes"]) == [(0, 18), (3, 50)]
    assert find_runs(joint["lips"]) == [(0, 18), (3, 50)]
    assert (joint["speaker"] == 3).all()
    silent = mix.mix_records(
        make_record("speech", 2.0, 3, ("lips", "speaker")), SOUND, plan(mode), RATES
    )
    assert not {"lips", "speaker"} & silent.keys()


def test_a_longer_speech_sets_the_length():
    joint = mix.mix_records(
        make_record("speech", 3.0, 3), make_record("sound", 1.0, 5), plan(start=0.0), RATES
    )
    assert find_runs(joint["clip"]) == [(8, 10), (3, 20)]
    assert find_runs(joint["wave"]) == [(550, 16_000), (300, 32_000)]
    assert joint["meta"]["duration"] == 3.0


def test_a_missing_video_is_zeros():
    video = ("clip", "sync", "lips")
    voice, noise = make_record("speech", 2.0, 3, video), make_record("sound", 4.0, 5, video)
    added = mix.mix_records(voice, SOUND, plan(), RATES)
    assert find_runs(added["clip"]) == [(5, 40)]
    assert find_runs(mix.mix_records(voice, SOUND, plan("insert"), RATES)["clip"]) == [
        (5, 7),
        (0, 20),
        (5, 13),
    ]
    assert find_runs(mix.mix_records(SPEECH, noise, plan(), RATES)["sync"]) == [
        (0, 17),
        (3, 48),
        (0, 31),
    ]
    assert not set(video) & mix.mix_records(voice, noise, plan(), RATES).keys()


def test_a_mixed_clip_fits_the_batch_and_tells_what_it_is():
    joint = mix.mix_records(SPEECH, SOUND, plan(), RATES)
    example = pipeline.make_example(joint, SPEC)
    for name in conditions.NAMES:
        expected = pipeline.make_example(SPEECH, SPEC)["features"][name]
        assert example["features"][name].shape == expected.shape
        assert example["features"][name].dtype == expected.dtype
        assert example["present"][name] == 1
    assert example["wave"].shape == (64_000,) and example["frames"] == 100
    assert joint["meta"] == {
        "id": "speech3+sound5",
        "task": "joint",
        "text": "bin",
        "duration": 4.0,
        "mixed": {"speech": "speech3", "sound": "sound5", "mode": "add", "start": 0.73,
                  "gain": 0.5},
    }  # fmt: skip


@pytest.mark.parametrize(("mode", "under"), [("add", 500), ("insert", 0)])
def test_a_muted_talker_is_seen_and_not_heard(mode, under):
    muted = dataclasses.replace(plan(mode, gain=1.0), muted=True)
    silent, spoken = (mix.mix_records(SPEECH, SOUND, p, RATES) for p in (muted, plan(mode)))
    parts = [(500, 11_680), (under, 32_000), (500, 20_320)] if under != 500 else [(500, 64_000)]
    assert find_runs(silent["wave"]) == parts
    for name in ("clip", "sync", "lips"):
        np.testing.assert_array_equal(silent[name], spoken[name])
    assert not silent["phonemes"].any() and len(silent["phonemes"]) == len(spoken["phonemes"])
    assert "speaker" not in silent
    meta = silent["meta"]
    assert (meta["task"], meta["text"], meta["mixed"]["muted"]) == ("sound", "", True)
    example = pipeline.make_example(silent, SPEC)
    assert example["present"]["phonemes"] == 1 and example["present"]["speaker"] == 0


def test_inputs_are_left_as_they_are():
    before = pickle.dumps((SPEECH, SOUND))
    mix.mix_records(SPEECH, SOUND, plan(), RATES)
    assert pickle.dumps((SPEECH, SOUND)) == before


def test_plans_have_the_chances_that_they_should():
    rng = np.random.default_rng(0)
    plans = [mix.sample_plan(rng, 2.0, 0.25) for _ in range(4000)]
    starts = np.asarray([p.start for p in plans])
    assert starts.min() >= 0 and starts.max() <= 2
    assert starts.mean() == pytest.approx(1.0, abs=0.05)
    assert starts.std() == pytest.approx(2 / 12**0.5, abs=0.03)
    gains = np.asarray([p.gain for p in plans if p.mode == "add"])
    assert len(gains) / len(plans) == pytest.approx(0.25, abs=0.03)
    assert 0.3 <= gains.min() < 0.31 and 0.69 < gains.max() <= 0.7
    assert all(p.gain == 0 for p in plans if p.mode == "insert")
    assert all(mix.sample_plan(rng, room).start == 0 for room in (0.0, -1.0))


# ---- in the pipeline ----------------------------------------------------------------------

VOICES = [make_record("speech", 1.0 + number / 10, number + 1) for number in range(5)]
NOISES = [make_record("sound", 3.0, number + 11) for number in range(7)]


def mixer(ratio=1.0, rates=RATES, by_time=False, mute=0.0, voices=VOICES):
    mixing = type("Mixing", (), {"ratio": ratio, "add_ratio": 0.5, "mute_ratio": mute})
    return mix.make_mixer(mixing, VOICES + NOISES, voices, NOISES, rates, by_time)


def list_mixed(count=60, **options):
    records = pipeline.shuffle_records(VOICES + NOISES, 1, mixer(**options))
    return [records[number]["meta"] for number in range(count)]


def test_all_clips_of_both_kinds_are_mixed_and_listed():
    mixed = [meta["mixed"] for meta in list_mixed()]
    assert {m["speech"] for m in mixed} == {c["meta"]["id"] for c in VOICES}
    assert {m["sound"] for m in mixed} == {c["meta"]["id"] for c in NOISES}
    assert {m["mode"] for m in mixed} == {"add", "insert"}


def test_what_is_mixed_depends_on_seed_and_place_alone():
    first = list_mixed()
    assert list_mixed() == first
    records = pipeline.shuffle_records(VOICES + NOISES, 1, pickle.loads(pickle.dumps(mixer())))
    assert [records[number]["meta"] for number in reversed(range(60))] == first[::-1]
    other = pipeline.shuffle_records(VOICES + NOISES, 2, mixer())
    assert [other[number]["meta"] for number in range(60)] != first
    assert first[:12] != first[12:24], "the epochs differ"


def test_a_share_of_the_clips_is_mixed():
    share = np.mean(["mixed" in meta for meta in list_mixed(240, ratio=0.5)])
    assert share == pytest.approx(0.5, abs=0.1)


def test_a_share_of_the_talkers_is_muted_and_they_are_seen():
    unseen = [make_record("speech", 1.0, 21 + number, ("clip", "sync")) for number in range(9)]
    records = [mixer(mute=0.4, voices=VOICES + unseen)(0, np.random.default_rng(seed))
               for seed in range(300)]  # fmt: skip
    muted = [record for record in records if record["meta"]["mixed"].get("muted")]
    assert len(muted) / len(records) == pytest.approx(0.4, abs=0.08)
    sources = {record["meta"]["mixed"]["speech"] for record in muted}
    assert sources <= {voice["meta"]["id"] for voice in VOICES}
    never = [mixer(mute=0.4, voices=unseen)(0, np.random.default_rng(seed)) for seed in range(9)]
    assert any(record["meta"]["mixed"].get("muted") for record in never), "the draws end"


def batches(**options):
    return pipeline.iterate_training_batches(
        VOICES + NOISES, SPEC, batch_size=4, seed=1, mixer=mixer(), **options
    )


def test_position_is_restored_in_the_midst_of_mixing():
    stream = batches()
    for _ in range(5):
        next(stream)
    position = stream.get_state()
    expected = [next(stream) for _ in range(3)]
    again = batches()
    again.set_state(position)
    for batch in expected:
        restored = next(again)
        np.testing.assert_array_equal(restored["wave"], batch["wave"])
        for name in conditions.NAMES:
            np.testing.assert_array_equal(restored["features"][name], batch["features"][name])


def test_hosts_mix_other_clips():
    """Each host reads its rows of every batch."""
    all_rows = [batch for batch, _ in zip(batches(), range(4), strict=False)]
    for rows in (range(2), range(2, 4)):
        host = [batch for batch, _ in zip(batches(rows=rows), range(4), strict=False)]
        for part, batch in zip(host, all_rows, strict=True):
            np.testing.assert_array_equal(part["wave"], batch["wave"][list(rows)])


def test_segments_of_sync_tokens_stay_whole():
    """Speech starts every 8 frames, and its tokens, 8 a segment, start there too."""
    starts = {meta["mixed"]["start"] for meta in list_mixed(by_time=True)}
    assert all(abs(start / 0.32 - round(start / 0.32)) < 1e-6 for start in starts)
    assert len(starts) > 3
    segment_mixer = mixer(by_time=True)
    joint = mix.mix_records(SPEECH, SOUND, plan("insert", start=0.96), segment_mixer.rates)
    assert find_runs(joint["sync"])[0] == (5, 24)
    embedded = mixer(rates={**RATES, "sync": 25.0}, by_time=True)
    assert embedded.grid == 0, "one token a frame may start at any frame"


# ---- in a run -----------------------------------------------------------------------------


def test_clips_can_be_chosen_by_task(tiny_run):
    ids = {}
    for tasks in ((), ("sound",), ("speech", "joint"), ("sound", "speech", "joint")):
        split = shards.open_split(tiny_run / "shards", "train", tasks=tasks)
        metas = [split[row]["meta"] for row in range(len(split))]
        ids[tasks] = [meta["id"] for meta in metas]
        assert not tasks or {meta["task"] for meta in metas} <= set(tasks)
    everything, sound, speech, listed = ids.values()
    assert listed == everything == sorted(sound + speech, key=everything.index)
    with pytest.raises(InputError, match=r"data.tasks: found \['music'\], expected some of"):
        shards.open_split(tiny_run / "shards", "train", tasks=("music",))


@pytest.mark.parametrize("tasks", [(), ("sound", "speech")])
def test_an_epoch_may_have_the_clips_of_a_task_several_times(tiny_run, tasks):
    def count(**options):
        split = shards.open_split(tiny_run / "shards", "train", tasks=tasks, **options)
        assert split.num_different == len({split[row]["meta"]["id"] for row in range(len(split))})
        return collections.Counter(split[row]["meta"]["id"] for row in range(len(split)))

    once, repeats = count(), {"speech": 1, "sound": 3}
    sound = shards.open_split(tiny_run / "shards", "train", tasks=("sound",))
    times = {sound[row]["meta"]["id"]: 3 for row in range(len(sound))}
    assert 0 < len(times) < len(once) == once.total()
    assert count(repeats=repeats) == {name: times.get(name, 1) for name in once}
    assert count(repeats=dict.fromkeys(repeats, 1)) == once


def recipe(tiny_run):
    """The recipe on the tiny run's shards, weights and sizes."""
    config, small = load_recipe("joint_synthetic"), checkpoint.read_config(tiny_run)
    config.model.update(small.model.to_dict())
    config.codec.update(small.codec)
    config.data.update(shards=str(tiny_run / "shards"), batch_size=2, duration=4.0)
    config.train.update(init_from=str(tiny_run), steps=1, log_every=1, sample_every=0)
    return config


@pytest.mark.slow
def test_the_recipe_trains_from_another_run_and_goes_on(tiny_run, tmp_path):
    config = recipe(tiny_run)
    train(config, tmp_path)
    weights, expected = (load_newest_weights(folder) for folder in (tmp_path, tiny_run))
    # The rate of the first step is 0, so that its weights are those that the run starts with.
    jax.tree.map(np.testing.assert_array_equal, weights, expected)
    codecs = [(folder / "codec" / "codec.json").read_text() for folder in (tmp_path, tiny_run)]
    assert codecs[0] == codecs[1]
    config.train.steps = 3
    train(config, tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3]
    assert all(np.isfinite(line["loss"]) and line["grad_norm"] > 0 for line in lines)


def load_newest_weights(folder):
    return checkpoint.load_weights(folder)[0]


def test_a_start_of_another_size_is_refused(tiny_run, tmp_path):
    config = recipe(tiny_run)
    config.model.heads = 4
    with pytest.raises(
        InputError, match=r"train.init_from=.*: parameter .*: found \(.*, expected \("
    ):
        train(config, tmp_path)
    config.train.init_from = str(tmp_path / "nowhere")
    with pytest.raises(InputError, match="nowhere"):
        train(config, tmp_path / "other")


def test_stereo_waves_are_mixed_at_their_own_rate():
    stereo = [
        {
            **record,
            "wave": np.repeat(record["wave"], 3)[:, None].repeat(2, 1),
            "meta": {**record["meta"], "sample_rate": 48_000},
        }
        for record in (SPEECH, SOUND)
    ]
    joint = mix.mix_records(*stereo, plan(), RATES)
    assert joint["meta"]["sample_rate"] == 48_000 and joint["wave"].shape == (192_000, 2)
    assert find_runs(joint["wave"]) == [(500, 35_040), (550, 96_000), (500, 60_960)]
