"""Records to batches: shapes, absence, order, and positions that can be restored."""

import numpy as np
import pytest
from absl import flags
from array_record.python.array_record_module import ArrayRecordWriter

from vssflow_jax import conditions
from vssflow_jax.common.errors import InputError
from vssflow_jax.data import pipeline, shards

SPEC = pipeline.BatchSpec.from_duration(2.0, {"clip": 10, "sync": 25, "lips": 25, "phonemes": 25})


def record(number=0, seconds=2.0, **absent):
    frames = round(seconds * 25)
    full = {
        "wave": np.full(round(seconds * 16_000), number + 1, np.int16),
        "clip": np.ones((round(seconds * 10), 768), np.float16),
        "sync": np.ones((frames, 768), np.float16),
        "lips": np.ones((frames, 1024), np.float16),
        "speaker": np.ones(256, np.float16),
        "phonemes": np.ones(frames, np.int32),
    }
    return {name: array for name, array in full.items() if not absent.get(name)}


def read_numbers(batch):
    return (batch["wave"][:, 0] * pipeline.INT16_SCALE - 1).round().astype(int).tolist()


def test_spec_follows_table_and_rates():
    assert SPEC.latent_frames == 50
    assert SPEC.frames == {"clip": 20, "speaker": 1, "phonemes": 50, "lips": 50, "sync": 50}
    published = pipeline.BatchSpec.from_duration(
        10, {c.name: c.rate for c in conditions.CONDITIONS}
    )
    assert published.frames["sync"] == 240 and published.frames["clip"] == 100


def test_widths_are_those_of_the_shards():
    narrow = pipeline.BatchSpec.from_duration(2.0, {"lips": 25}, {"lips": 21})
    lips = np.ones((50, 21), np.float16)
    assert pipeline.make_example({"lips": lips}, narrow)["features"]["lips"].shape == (50, 21)
    assert pipeline.make_example({}, narrow)["features"]["lips"].shape == (50, 21)
    with pytest.raises(InputError, match=r"lips: found features of width 21 in a, expected 1024"):
        pipeline.make_example({"lips": lips, "meta": {"id": "a"}}, SPEC)


def test_full_and_short_clips():
    full, short = (pipeline.make_example(record(seconds=s), SPEC) for s in (2.0, 1.0))
    assert full["wave"].shape == short["wave"].shape == (32_000,)
    assert (full["frames"], short["frames"]) == (50, 25)
    assert short["features"]["lips"][:25].all() and not short["features"]["lips"][25:].any()


@pytest.mark.parametrize("name", ["clip", "sync", "lips", "speaker"])
def test_absent_condition_is_masked(name):
    example = pipeline.make_example(record(**{name: True}), SPEC)
    assert example["present"][name] == 0
    assert not example["features"][name].any()
    assert all(example["present"][other] for other in conditions.NAMES if other != name)


def test_absent_phonemes_mean_no_speech():
    example = pipeline.make_example(record(phonemes=True), SPEC)
    assert example["present"]["phonemes"] == 1
    assert not example["features"]["phonemes"].any()


def batches(batch_size=4, **options):
    records = [record(number) for number in range(12)]
    return pipeline.iterate_training_batches(
        records, SPEC, batch_size=batch_size, seed=1, **options
    )


def drain(stream, count):
    """Clip numbers of the next batches."""
    return [number for _ in range(count) for number in read_numbers(next(stream))]


def test_every_epoch_has_every_clip_in_another_order():
    stream = batches()
    epochs = [drain(stream, 3) for _ in range(2)]
    assert sorted(epochs[0]) == sorted(epochs[1]) == list(range(12))
    assert epochs[0] != epochs[1]


@pytest.mark.parametrize("size", [1, 3])
def test_the_order_does_not_depend_on_the_batch_size(size):
    assert drain(batches(batch_size=size), 24 // size) == drain(batches(), 6)


def test_position_can_be_restored():
    stream = batches()
    for _ in range(4):
        next(stream)
    position = stream.get_state()
    expected = [read_numbers(next(stream)) for _ in range(3)]
    again = batches()
    again.set_state(position)
    assert [read_numbers(next(again)) for _ in range(3)] == expected


@pytest.mark.parametrize("hosts", [2, 4])
def test_hosts_share_out_each_batch(hosts):
    """Together they read what one would, row by row, and from the same position."""
    size = 4 // hosts
    shares = [batches(rows=range(i * size, (i + 1) * size)) for i in range(hosts)]
    alone = batches()
    for _ in range(5):
        assert [n for host in shares for n in read_numbers(next(host))] == read_numbers(next(alone))
    assert {str(host.get_state()) for host in shares} == {str(alone.get_state())}


def write_damaged_shard(folder):
    """A shard of 12 clips of which two are no records."""
    path = folder / "clips"
    writer = ArrayRecordWriter(str(path), shards.WRITER_OPTIONS)
    for number in range(12):
        example = {
            **record(number),
            "meta": {"id": f"clip{number}", "task": "sound", "duration": 1.0},
        }
        writer.write(b"x" if number in (3, 7) else shards.encode_record(example))
    writer.close()
    return shards.Split([str(path)], replace_corrupt=True), [f"{path}, record {n}" for n in (3, 7)]


def corrupt_stream(folder, workers=0):
    records, names = write_damaged_shard(folder)
    options = {"batch_size": 4, "seed": 1, "workers": workers}
    return pipeline.iterate_training_batches(records, SPEC, **options), names


@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_corrupt_records_are_named_and_the_position_stays_exact(tmp_path, workers):
    flags.FLAGS.mark_as_parsed()  # Grain's workers look at theirs
    stream, names = corrupt_stream(tmp_path, workers)
    corrupt, batch_ids, positions = set(), [], []
    for _ in range(6):
        positions.append(stream.get_state())
        batch = next(stream)
        corrupt |= set(pipeline.list_corrupt_records(batch))
        batch_ids.append(batch[pipeline.IDS].tolist())
        assert [f"clip{number}" for number in read_numbers(batch)] == batch_ids[-1]
    assert corrupt == set(names)
    flat = [name for ids in batch_ids[:3] for name in ids]
    assert flat.count("clip4") == flat.count("clip8") == 2  # the next ones replace them
    assert not {"clip3", "clip7"} & set(flat)
    for start in (2, 4):
        again, _ = corrupt_stream(tmp_path, workers)
        again.set_state(positions[start])
        assert [next(again)[pipeline.IDS].tolist() for _ in range(6 - start)] == batch_ids[start:]


def test_validation_batches_are_full_and_repeatable():
    records = [record(number) for number in range(6)]
    options = {"batch_size": 4, "max_examples": 99}
    full = list(pipeline.iterate_validation_batches(records, SPEC, rows=range(4), **options))
    assert [read_numbers(batch) for batch in full] == [[0, 1, 2, 3], [4, 5, 0, 1]]
    half = list(pipeline.iterate_validation_batches(records, SPEC, rows=range(2, 4), **options))
    assert [read_numbers(batch) for batch in half] == [[2, 3], [0, 1]]


# ---- stereo ---------------------------------------------------------------------------------


def stereo_record(seconds=2.0):
    wave = (np.arange(round(seconds * 48_000)) % 1000).astype(np.int16)
    meta = {"id": "a", "sample_rate": 48_000}
    return {**record(seconds=seconds), "wave": np.stack([wave, -wave], 1), "meta": meta}


def test_waves_have_the_format_of_the_shards():
    audio = conditions.AudioFormat(48_000, 2)
    spec = pipeline.BatchSpec.from_duration(2.0, {"clip": 10, "sync": 25}, audio=audio)
    full, short = (pipeline.make_example(stereo_record(s), spec) for s in (2.0, 1.0))
    absent = pipeline.make_example({"meta": {"id": "b"}}, spec)
    assert full["wave"].shape == short["wave"].shape == absent["wave"].shape == (96_000, 2)
    assert (full["frames"], short["frames"], absent["frames"]) == (50, 25, 0)


def test_a_mono_wave_is_read_from_any_record():
    wave = pipeline.read_mono(stereo_record())
    assert wave.shape == (32_000,) and np.abs(wave).max() < 1e-6  # opposite channels cancel
    np.testing.assert_array_equal(pipeline.read_mono(record()), pipeline.read_wave(record()))
    assert pipeline.read_mono({}).shape == (0,)
