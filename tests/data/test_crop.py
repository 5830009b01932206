"""Random crops of long examples: one interval for all features, exact on resume, no second lost."""

import types

import numpy as np
import pytest

from vssflow_jax import train
from vssflow_jax.config import load_recipe
from vssflow_jax.data import crop, pipeline

RATES = {"clip": 10, "sync": 25, "lips": 25, "phonemes": 25, "speaker": None}
PUBLISHED = RATES | {"sync": 24}
SPEC = pipeline.BatchSpec.from_duration(4.0, RATES)


def numbered_record(seconds, name="a"):
    """A record whose every row holds the time at which it starts, in latent frames or less."""

    def rows(rate, width):
        times = np.arange(round(seconds * rate)) * 25 / rate
        return np.repeat(times[:, None], width, 1).astype(np.float16)

    return {
        "wave": (np.arange(round(seconds * 16_000)) // 640).astype(np.int16),
        "clip": rows(10, 768),
        "sync": rows(25, 768),
        "lips": rows(25, 1024),
        "phonemes": np.arange(round(seconds * 25), dtype=np.int32),
        "speaker": np.ones(256, np.float16),
        "meta": {"id": name},
    }


def make_cropper(rates=RATES, seed=1):
    return crop.RandomCropper(latent_frames=100, rates=rates, seed=seed)


def iterate(records, cropper, **options):
    return pipeline.iterate_training_batches(
        records, SPEC, **({"batch_size": 4, "seed": 1, "cropper": cropper} | options)
    )


@pytest.mark.parametrize("rates", [RATES, PUBLISHED])
@pytest.mark.parametrize("seconds", [10.0, 4.04, 7.36, 9.96])
def test_all_features_are_cut_to_one_interval(rates, seconds):
    record, cropper = numbered_record(seconds), make_cropper(rates)
    grid = 5 if rates is RATES else 8
    for index in range(60):
        cut = cropper(index, record)
        start = int(cut["phonemes"][0])
        assert start % grid == 0
        assert cut["wave"][0] == cut["sync"][0, 0] == cut["lips"][0, 0] == start
        assert abs(cut["clip"][0, 0] - start) <= (0 if grid == 5 else 1.25)
        assert 100 - grid < len(cut["phonemes"]) <= 100
        assert len(cut["wave"]) == 640 * len(cut["phonemes"]) == 640 * len(cut["lips"])
        assert cut["speaker"] is record["speaker"] and cut["meta"] is record["meta"]


def test_every_second_of_a_long_example_is_seen():
    record, cropper = numbered_record(10.0), make_cropper()
    seen = np.zeros(250, bool)
    starts = set()
    for index in range(500):
        frames = cropper(index, record)["phonemes"]
        seen[frames] = True
        starts.add(int(frames[0]))
    assert seen.all() and starts == set(range(0, 151, 5))


@pytest.mark.parametrize("seconds", [0.2, 3.1, 4.0])
def test_examples_that_fit_are_the_same_to_the_bit(seconds):
    records = [numbered_record(seconds, str(number)) for number in range(6)]
    assert make_cropper()(0, records[0]) is records[0]
    streams = [iterate(records, cropper) for cropper in (None, make_cropper())]
    for _ in range(4):
        one, other = (next(stream) for stream in streams)
        assert one["ids"].tolist() == other["ids"].tolist()
        np.testing.assert_array_equal(one["wave"], other["wave"])
        for name in SPEC.frames:
            np.testing.assert_array_equal(one["features"][name], other["features"][name])


def read_starts(batch):
    return [*batch["features"]["phonemes"][:, 0].tolist(), *batch["ids"].tolist()]


def test_crops_are_the_same_after_resuming_and_on_any_number_of_hosts():
    records = [numbered_record(10.0, str(number)) for number in range(6)]
    stream = iterate(records, make_cropper())
    next(stream)
    position = stream.get_state()
    expected = [read_starts(next(stream)) for _ in range(4)]
    resumed = iterate(records, make_cropper())
    resumed.set_state(position)
    assert [read_starts(next(resumed)) for _ in range(4)] == expected
    hosts = [iterate(records, make_cropper(), rows=range(i, i + 2)) for i in (0, 2)]
    for host in hosts:
        host.set_state(position)
    for starts in expected:
        parts = [read_starts(next(host)) for host in hosts]
        assert [*parts[0][:2], *parts[1][:2], *parts[0][2:], *parts[1][2:]] == starts
    assert len({tuple(starts[:4]) for starts in expected}) > 1
    other = iterate(records, make_cropper(seed=2))
    other.set_state(position)
    assert [read_starts(next(other)) for _ in range(4)] != expected


@pytest.mark.parametrize(
    ("lengths", "line"),
    [
        ((3.1, 10.0), "clips of 3.1 to 10.0 s, seen 4.0 s at a time, from random places: 70 % of"),
        ((3.1, 4.0), "clips of 3.1 to 4.0 s, seen whole"),
        ((4.04, 4.04), "clips of 4.0 to 4.0 s, seen 4.0 s at a time"),
    ],
)
def test_the_share_that_is_seen_is_said(lengths, line):
    said = crop.describe_lengths([numbered_record(seconds) for seconds in lengths], 100)
    assert said.startswith(line)
    assert ("validation sees the first 4.0 s of each" in said) == ("at a time" in line)


def test_the_line_says_how_many_of_many_examples_it_is_about():
    records = [numbered_record(1.0)] * 300
    assert crop.describe_lengths(records, 100) == (
        "clips of 1.0 to 1.0 s (256 of 300 examined), seen whole"
    )


def describe_run(folder, seconds, **data):
    """Prints what a run on one clip says before its first step; `data` changes `config.data`."""
    config = load_recipe("grid")
    config.data.update(data)
    run = types.SimpleNamespace(
        workdir=folder,
        config=config,
        step=0,
        state=types.SimpleNamespace(params={}),
        data=types.SimpleNamespace(spec=SPEC),
        mesh=types.SimpleNamespace(shape={}),
    )
    dataset = types.SimpleNamespace(
        records=[numbered_record(seconds)], statistics={}, folder=folder / "shards"
    )
    train.write_description(run, dataset)


def test_train_says_it_before_the_first_step(tmp_path, capsys):
    describe_run(tmp_path, 10.0)
    assert "clips of 10.0 to 10.0 s, seen 4.0 s at a time" in capsys.readouterr().out


def test_stereo_waves_are_cut_at_their_own_rate():
    wave = (np.arange(10 * 48_000) // 1920).astype(np.int16)
    meta = {"id": "a", "sample_rate": 48_000}
    record = {**numbered_record(10.0), "wave": np.stack([wave, wave], 1), "meta": meta}
    for index in range(10):
        cut = make_cropper()(index, record)
        assert cut["wave"].shape == (100 * 1920, 2)
        assert (cut["wave"][0] == cut["phonemes"][0]).all()


@pytest.mark.parametrize(("batch_size", "repeats"), [(1, False), (2, True)])
def test_train_says_that_batches_repeat_clips(tmp_path, capsys, batch_size, repeats):
    describe_run(tmp_path, 4.0, batch_size=batch_size)
    line = "note: a batch has 2 clips and the training split 1: every batch repeats clips"
    assert (line in capsys.readouterr().out) == repeats
