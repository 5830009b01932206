import csv
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from helpers import fixtures
from helpers.paths import ROOT

from vssflow_jax import conditions, media
from vssflow_jax.common.errors import InputError
from vssflow_jax.data import shards
from vssflow_jax.preparation.prepare import prepare
from vssflow_jax.text import alignment, phonemes
from vssflow_jax.text.durations import measure_durations
from vssflow_jax.text.grid import phonemes_to_frames

HEADER = "id,video,audio,text,speaker_audio,alignment,split,task"
SENTENCE = "set blue at g nine now"
TIMES = alignment.place_phonemes(["S", "EH1", "T"], 0.5, 1.1, {})


def write_manifest(folder, rows, name="clips.csv"):
    path = folder / name
    path.write_text("\n".join([HEADER, *rows]) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """A folder of media: good clips, a voice, an alignment, and broken files."""
    folder = tmp_path_factory.mktemp("corpus")
    for number in range(4):
        fixtures.write_clip(folder / f"{number}.mp4", 2.0, seed=number)
    fixtures.write_clip(folder / "silent.mp4", 2.0, sound=False)
    fixtures.write_clip(folder / "long.mp4", 5.0)
    media.write_wav(folder / "voice.wav", fixtures.make_tone(2.0, 150.0))
    media.write_wav(folder / "silence.wav", np.zeros(16_000, np.float32))
    alignment.write_alignment(folder / "0.csv", TIMES)
    spoken = [s for word in phonemes.pronounce(SENTENCE.split()) for s in word]
    alignment.write_alignment(folder / "long.csv", alignment.place_phonemes(spoken, 0.2, 4.9, {}))
    (folder / "text.mp4").write_text("not a film")
    (folder / "cut.mp4").write_bytes((folder / "0.mp4").read_bytes()[:1500])
    notes = [
        {"id": "a", "mouth": [10, 10, 30, 30], "speaker": "v"},
        {"id": "long", "onsets": [1, 4]},
    ]
    lines = "\n".join(map(json.dumps, notes))
    (folder / "annotations.jsonl").write_text(lines + "\n")
    return folder


GOOD = [
    f"a,0.mp4,,{SENTENCE},voice.wav,0.csv,train,",
    "b,1.mp4,,,,,train,",
    f"c,2.mp4,,{SENTENCE},,,train,joint",
    f"d,,voice.wav,{SENTENCE},,,valid,",
    f"e,silent.mp4,,{SENTENCE},voice.wav,,test,",
    "f,silent.mp4,voice.wav,,,,test,sound",
]


@pytest.fixture(scope="module")
def prepared(corpus, tmp_path_factory):
    out = tmp_path_factory.mktemp("shards")
    info = prepare(write_manifest(corpus, GOOD), out, workers=0, clips_per_shard=2, progress=False)
    return out, info


def records(out):
    return {
        record["meta"]["id"]: record
        for split in ("train", "valid", "test")
        for record in shards.open_split(out, split)
    }


def left_out(out):
    """The rows of skipped.csv by id."""
    with open(out / "skipped.csv", encoding="utf-8", newline="") as file:
        return {row["id"]: row for row in csv.DictReader(file)}


def test_every_clip_is_there_with_what_it_has(prepared):
    out, info = prepared
    found = records(out)
    seen = {"clip", "sync"}
    assert {name: record.keys() - {"meta"} for name, record in found.items()} == {
        "a": {"wave", "speaker", "phonemes", "lips"} | seen,
        "b": {"wave"} | seen,
        "c": {"wave", "speaker", "phonemes"} | seen,
        "d": {"wave", "speaker", "phonemes"},
        "e": {"speaker", "phonemes"} | seen,
        "f": {"wave"} | seen,
    }
    assert [found[name]["meta"]["task"] for name in "abcdef"] == (
        ["speech", "sound", "joint", "speech", "speech", "sound"]
    )
    assert shards.load_dataset_info(out) == info
    assert info["splits"]["train"]["tasks"] == {"joint": 1, "sound": 1, "speech": 1}
    assert info["splits"]["train"]["missing"] == {"lips": 2, "phonemes": 1, "speaker": 1}
    assert info["splits"]["test"]["missing"] == {"lips": 2, "phonemes": 1, "speaker": 1, "wave": 1}
    assert info["splits"]["test"]["silent"] == [0] and info["skipped"] == 0
    assert info["splits"]["train"]["seconds"] == {"joint": 2.0, "sound": 2.0, "speech": 2.0}
    assert info["splits"]["valid"]["files"] == ["valid-00000.array_record"]


def test_voices_are_missing_where_no_encoder_is_for_them(corpus, tmp_path):
    manifest = write_manifest(corpus, GOOD[:1], "voiced.csv")
    options = {"workers": 0, "progress": False}
    info = prepare(manifest, tmp_path, encoder_set="clip=built-in,sync=built-in", **options)
    assert info["splits"]["train"]["missing"] == {"lips": 1, "speaker": 1}
    assert records(tmp_path)["a"].keys() == {"wave", "phonemes", "clip", "sync", "meta"}


def test_lengths_are_those_of_the_clip(prepared):
    out, info = prepared
    for record in records(out).values():
        duration = record["meta"]["duration"]
        assert duration == 2.0
        for name, feature in info["features"].items():
            if name not in record:
                continue
            rows = conditions.num_frames(name, duration, feature["rate"])
            width = () if name == "phonemes" else (feature["width"],)
            expected = width if feature["rate"] is None else (rows, *width)
            assert record[name].shape == expected and record[name].dtype == feature["dtype"]
        if "wave" in record:
            assert record["wave"].shape == (32_000,) and record["wave"].dtype == np.int16


def test_speech_has_its_times(prepared):
    out, info = prepared
    found = records(out)
    given = found["a"]["meta"]["alignment"]
    assert [row[2] for row in given] == ["S", "EH1", "T"]
    np.testing.assert_array_equal(found["a"]["phonemes"], phonemes_to_frames(TIMES, 50))
    assert info["statistics"]["phoneme_durations"] == pytest.approx(
        measure_durations([TIMES]), abs=1e-4
    )
    assert "alignment" not in found["c"]["meta"], "predicted times are not passed off as known"
    spoken = np.flatnonzero(found["c"]["phonemes"])
    assert (
        len(spoken) == spoken[-1] - spoken[0] + 1 and len(set(found["c"]["phonemes"][spoken])) > 8
    )


def test_annotations_and_mouths_come_along(prepared, corpus):
    out, _ = prepared
    found = records(out)
    assert found["a"]["meta"]["annotation"]["speaker"] == "v"
    assert "annotation" not in found["b"]["meta"]
    from vssflow_jax.features import lips

    frames = media.read_video(corpus / "0.mp4").frames
    expected = lips.crop_mouth(frames, (10, 10, 30, 30)).astype(np.float16)
    np.testing.assert_array_equal(found["a"]["lips"], expected)


BAD = [
    ("gone.mp4,,,,,train,", "no such file"),
    ("text.mp4,,,,,train,", "not a media file"),
    ("cut.mp4,,,,,train,", "truncated"),
    ("0.mp4,,...,,,train,", "no words"),
    ("0.mp4,,世界,,,train,", "expected characters that can be pronounced"),
    ("0.mp4,silent.mp4,,,,train,", "no audio stream"),
    (f"0.mp4,,{SENTENCE},silence.wav,,train,", "silence.wav: speaker audio: found silence"),
    (f"0.mp4,,{SENTENCE},,gone.csv,train,", "gone.csv: no such file"),
    (f"0.mp4,,{' '.join([SENTENCE] * 9)},,,train,", "phonemes"),
    (f"long.mp4,,{SENTENCE},,long.csv,train,", "expected at most 4 s or pauses"),
    ("long.mp4,,bin blue,,0.csv,train,", "the phonemes 'S EH1 T' in the alignment for 'bin'"),
]


BROKEN = [f"bad{number},{row}" for number, (row, _) in enumerate(BAD)]


def test_broken_clips_are_skipped_and_named(corpus, tmp_path, capsys):
    path = write_manifest(corpus, [*BROKEN, "b,1.mp4,,,,,train,"], "bad.csv")
    info = prepare(path, tmp_path / "out", workers=0, max_seconds=4.0)
    assert info["splits"]["train"]["clips"] == 1 and info["skipped"] == len(BAD)
    skipped = left_out(tmp_path / "out")
    assert list(skipped) == [f"bad{n}" for n in range(len(BAD))]
    for row, (_, message) in zip(skipped.values(), BAD, strict=True):
        assert message in row["reason"] and "\n" not in row["reason"]
    error = capsys.readouterr().err
    assert "WARNING: skipped 11 of 12 rows" in error and "bad0: " in error


def test_nothing_usable_is_an_error(corpus, tmp_path):
    path = write_manifest(corpus, ["x,gone.mp4,,,,,train,"], "none.csv")
    with pytest.raises(InputError, match=r"none.csv: all 1 clips were skipped.* x: .*gone.mp4"):
        prepare(path, tmp_path / "out", workers=0, progress=False)
    assert not (tmp_path / "out" / "dataset.json").exists()


def test_long_sounds_are_cut_into_windows(corpus, tmp_path):
    path = write_manifest(corpus, ["long,long.mp4,,,,,train,"], "long.csv")
    prepare(path, tmp_path, workers=0, max_seconds=2.0, progress=False)
    found = records(tmp_path)
    assert {name: r["meta"]["duration"] for name, r in found.items()} == {
        "long_0": 2.0,
        "long_1": 2.0,
        "long_2": 1.0,
    }
    whole = media.to_int16(media.read_audio(corpus / "long.mp4"))
    np.testing.assert_array_equal(np.concatenate([r["wave"] for r in found.values()]), whole)
    onsets = [r["meta"]["annotation"]["onsets"] for r in found.values()]
    assert onsets == [[1], [], [0]]


def test_long_speech_is_cut_where_it_pauses(corpus, tmp_path):
    """Three words before 1.9 s, two from 2.5 s on, one at the end; then silence."""
    spoken = []
    for text, start, end in (("set blue at", 0.3, 1.9), ("g nine", 2.5, 3.2), ("now", 3.4, 3.8)):
        symbols = [s for word in phonemes.pronounce(text.split()) for s in word]
        spoken += alignment.place_phonemes(symbols, start, end, {})
    alignment.write_alignment(corpus / "pauses.csv", spoken)
    rows = [f"x,long.mp4,,{SENTENCE},voice.wav,pauses.csv,train,joint"]
    path = write_manifest(corpus, rows, "pauses.csv.csv")
    prepare(path, tmp_path, workers=0, max_seconds=2.2, progress=False)
    found = records(tmp_path)
    texts = {name: (r["meta"].get("text"), r["meta"]["task"]) for name, r in found.items()}
    assert texts == {
        "x_0": ("set blue at", "joint"),
        "x_1": ("g nine now", "joint"),
        "x_2": (None, "sound"),
    }
    durations = [r["meta"]["duration"] for r in found.values()]
    assert sum(durations) == pytest.approx(5.0) and durations[:2] == [2.2, 2.2]
    whole = media.to_int16(media.read_audio(corpus / "long.mp4"))
    np.testing.assert_array_equal(np.concatenate([r["wave"] for r in found.values()]), whole)
    again = [
        (start + shift, end + shift, symbol)
        for record, shift in zip(found.values(), np.cumsum([0, *durations]), strict=False)
        for start, end, symbol in record["meta"].get("alignment", [])
    ]
    assert [row[2] for row in again] == [i.symbol for i in spoken]
    np.testing.assert_allclose([r[:2] for r in again], [i[:2] for i in spoken], atol=2e-4)
    assert "speaker" in found["x_1"] and "phonemes" in found["x_1"]
    assert not {"speaker", "phonemes"} & found["x_2"].keys()


def test_files_may_have_odd_lengths(tmp_path):
    """29.97 frames a second and 4.004 s become whole latent frames."""
    source = fixtures.find_real_video("carphone_pristine.mp4")
    path = write_manifest(tmp_path, [f"x,{source},,,,,test,"])
    prepare(path, tmp_path / "out", workers=0, progress=False)
    record = records(tmp_path / "out")["x"]
    assert record["meta"]["duration"] == 4.0
    assert record["clip"].shape == (40, 768) and record["sync"].shape == (100, 768)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_second_run_changes_nothing(corpus, prepared):
    out, _ = prepared
    before = {path: path.stat().st_mtime_ns for path in out.glob("*.array_record")}
    old = contents(out)
    prepare(corpus / "clips.csv", out, workers=0, clips_per_shard=2, progress=False)
    assert contents(out) == old
    assert before == {path: path.stat().st_mtime_ns for path in out.glob("*.array_record")}


def test_a_run_that_was_killed_goes_on(corpus, tmp_path):
    """SIGKILL after the first shard; the rest is made later, and all is as if unbroken."""
    rows = [f"k{n},{n % 4}.mp4,,,,,train," for n in range(60)]
    path = write_manifest(corpus, rows, "kill.csv")
    prepare(path, tmp_path / "whole", workers=0, clips_per_shard=6, progress=False)
    out = tmp_path / "broken"
    command = (
        "from vssflow_jax.preparation.prepare import prepare;"
        f"prepare({str(path)!r}, {str(out)!r}, workers=0, clips_per_shard=6, progress=False)"
    )
    child = subprocess.Popen([sys.executable, "-c", command])
    first = out / "train-00000.json"
    while not first.exists() and child.poll() is None:
        time.sleep(0.002)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    assert not (out / "dataset.json").exists()
    stamp = first.stat().st_mtime_ns
    (out / ".train-00005.array_record.1.partial").write_bytes(b"half")
    prepare(path, out, workers=0, clips_per_shard=6, progress=False)
    assert first.stat().st_mtime_ns == stamp
    assert contents(out) == contents(tmp_path / "whole")


def whole_shards(out, whole):
    """How many shards there are; all must be those of an unbroken run."""
    there = list(out.glob("*.array_record"))
    for path in there:
        assert path.read_bytes() == (whole / path.name).read_bytes()
    return len(there)


@pytest.mark.slow
def test_ten_kills_at_random_moments_change_nothing(corpus, tmp_path):
    """SIGKILL some shards and some moments after the start, ten times, then once to the end."""
    rows = [f"k{n},{n % 4}.mp4,,{'' if n % 6 else SENTENCE},,,train," for n in range(400)]
    path = write_manifest(corpus, [*rows, *BROKEN], "kills.csv")
    options = (f"--manifest={path}", "--workers=2", "--clips_per_shard=4")
    done = command(f"--out={tmp_path / 'whole'}", *options)
    assert done.returncode == 0, done.stderr
    rng, out, counts = np.random.default_rng(0), tmp_path / "broken", [0]
    for _ in range(10):
        run = [sys.executable, "-m", "vssflow_jax.prepare", f"--out={out}", *options]
        child = subprocess.Popen(run, stderr=subprocess.DEVNULL)
        more = counts[-1] + rng.integers(0, 6)
        while len(list(out.glob("*.array_record"))) < more and child.poll() is None:
            time.sleep(0.002)
        time.sleep(rng.uniform(0, 0.3))
        child.send_signal(signal.SIGKILL)
        assert child.wait() == -signal.SIGKILL
        counts.append(whole_shards(out, tmp_path / "whole"))
    assert counts == sorted(counts) and counts[-1] > 0, counts
    done = command(f"--out={out}", *options)
    assert done.returncode == 0, done.stderr
    assert contents(out) == contents(tmp_path / "whole")
    print(f"shards there after each kill: {counts[1:]} of {len(list(out.glob('*.array_record')))}")


def test_several_runs_share_the_work(corpus, tmp_path):
    """Three commands in one folder, one of them killed: each shard is written once, by one."""
    rows = [f"k{n},{n % 4}.mp4,,,,,train," for n in range(80)]
    path = write_manifest(corpus, [*rows, *BROKEN], "shared.csv")
    prepare(path, tmp_path / "whole", workers=0, clips_per_shard=4, progress=False)
    out = tmp_path / "shared"
    run = [sys.executable, "-m", "vssflow_jax.prepare", f"--manifest={path}", f"--out={out}"]
    run += ["--workers=1", "--clips_per_shard=4"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    runs = [subprocess.Popen(run, **pipes) for _ in range(3)]
    while len(list(out.glob("*.json"))) < 3 and runs[0].poll() is None:
        time.sleep(0.002)
    done = [path.with_suffix(".array_record") for path in out.glob("*.json")]
    stamps = {p.name: p.stat().st_mtime_ns for p in done if p.exists()}
    runs[0].send_signal(signal.SIGKILL)
    for child in runs:
        child.communicate(timeout=300)
    assert [child.returncode for child in runs[1:]] == [0, 0]
    assert contents(out) == contents(tmp_path / "whole")
    assert stamps.items() <= {p.name: p.stat().st_mtime_ns for p in out.iterdir()}.items()


def test_a_shard_in_other_hands_is_left_alone(corpus, tmp_path):
    """The lock of a living process keeps others off; a dead one's is free."""
    (tmp_path / "out").mkdir()
    hold = (
        "import sys, time; from vssflow_jax.common.locks import Locks\n"
        f"locks = Locks({str(tmp_path / 'out' / '.prepare.lock')!r})\n"
        "assert locks.take('train-00001.array_record'); print('held', flush=True)\n"
        "time.sleep(1000)\n"
    )
    holder = subprocess.Popen([sys.executable, "-c", hold], stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "held\n"
    rows = [f"k{n},{n}.mp4,,,,,train," for n in range(3)]
    path = write_manifest(corpus, rows, "held.csv")
    flags = (f"--manifest={path}", f"--out={tmp_path / 'out'}", "--clips_per_shard=1")
    run = [sys.executable, "-m", "vssflow_jax.prepare", *flags, "--workers=0"]
    child = subprocess.Popen(run, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    while not (tmp_path / "out" / "train-00002.json").exists():
        assert child.poll() is None
        time.sleep(0.01)
    time.sleep(0.5)
    assert child.poll() is None and not (tmp_path / "out" / "dataset.json").exists()
    assert not (tmp_path / "out" / "train-00001.array_record").exists()
    holder.kill()
    holder.communicate()
    child.communicate(timeout=60)
    assert child.returncode == 0 and (tmp_path / "out" / "train-00001.array_record").exists()


def test_two_runs_of_other_rows_in_one_folder_are_an_error(corpus, tmp_path, monkeypatch):
    path = write_manifest(corpus, ["k0,0.mp4,,,,,train,"], "mine.csv")
    monkeypatch.setattr("vssflow_jax.preparation.shard_jobs.is_finished", lambda job: False)
    with pytest.raises(InputError, match="found a shard of other rows"):
        prepare(path, tmp_path, workers=0, progress=False)


def test_what_changed_is_made_again_and_what_went_is_removed(corpus, tmp_path):
    rows = [f"k{n},{n}.mp4,,,,,train," for n in range(4)]
    path = write_manifest(corpus, rows, "change.csv")

    def run():
        info = prepare(path, tmp_path, workers=0, clips_per_shard=1, progress=False)
        stamps = {p.name: p.stat().st_mtime_ns for p in tmp_path.glob("*.array_record")}
        return info, stamps

    info, first = run()
    write_manifest(corpus, [rows[0], rows[1].replace(",train", ",test"), rows[2]], "change.csv")
    other, second = run()
    assert sorted(second) == [
        f"{n}.array_record" for n in ("test-00000", "train-00000", "train-00001")
    ]
    assert second["train-00000.array_record"] == first["train-00000.array_record"]
    assert second["train-00001.array_record"] != first["train-00001.array_record"]
    assert info["hash"] != other["hash"]
    assert {name: r["meta"]["id"] for name, r in records(tmp_path).items()}.keys() == {
        "k0",
        "k1",
        "k2",
    }


def test_processes_give_the_same_shards_and_stay_light(corpus, prepared, tmp_path):
    """From a main module that has loaded JAX, the workers do not load it."""
    program = tmp_path / "program.py"
    program.write_text(
        "import sys, jax\n"
        "from vssflow_jax.common import process_pool; from vssflow_jax.preparation import prepare\n"
        "import making_loaded\n"
        "if __name__ == '__main__':\n"
        "    assert not any(process_pool.unordered(making_loaded.loaded, range(4), 2))\n"
        f"    prepare.prepare({str(corpus / 'clips.csv')!r}, sys.argv[1], workers=2,"
        " clips_per_shard=2, progress=False)\n"
    )
    (tmp_path / "making_loaded.py").write_text(
        "import sys\n\n\ndef loaded(_):\n"
        "    import vssflow_jax.preparation.shard_jobs\n    return 'jax' in sys.modules\n"
    )
    write_manifest(corpus, GOOD)
    paths = os.pathsep.join([str(tmp_path), *sys.path])
    out = tmp_path / "out"
    run = [sys.executable, str(program), str(out)]
    subprocess.run(run, check=True, env={**os.environ, "PYTHONPATH": paths})
    assert contents(out) == contents(prepared[0])


def command(*arguments):
    run = [sys.executable, "-m", "vssflow_jax.prepare", *arguments]
    return subprocess.run(run, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_the_benchmark_runs(corpus):
    path = write_manifest(corpus, GOOD[:3], "benchmark.csv")
    script = ROOT / "benchmarks" / "preparing.py"
    run = [sys.executable, script, f"--manifest={path}", "--workers=1"]
    done = subprocess.run(run, capture_output=True, text=True, check=True)
    assert "| encode: sync | 3 |" in done.stdout and "| 3 | 1 |" in done.stdout


def test_the_command_line(corpus, tmp_path):
    path = write_manifest(corpus, ["b,1.mp4,,,,,train,", "x,gone.mp4,,,,,train,"], "command.csv")
    done = command(f"--manifest={path}", f"--out={tmp_path / 'out'}", "--workers=1")
    assert done.returncode == 0 and "prepared 1 clips" in done.stdout
    assert "prepare: 100%" in done.stderr and "x: " in done.stderr
    (tmp_path / "file").write_text("")
    for arguments, word in (
        ([f"--manifest={tmp_path / 'no.csv'}", f"--out={tmp_path / 'o'}"], "no such file"),
        ([f"--manifest={path}", f"--out={tmp_path / 'file'}"], "found a file"),
        ([f"--manifest={path}"], "--out"),
        ([f"--manifest={path}", f"--out={tmp_path / 'o'}", "--manifets=x"], "manifets"),
    ):
        done = command(*arguments)
        assert done.returncode == 2 and done.stderr.startswith("error: ") and word in done.stderr
        assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "o").exists()
