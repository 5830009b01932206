"""Sound, pictures, text and rows that preparation leaves out are said, each in a line."""

import contextlib
import io

import numpy as np
import pytest
from helpers import fixtures, odd_media
from helpers.manifests import SENTENCE, read_records, read_skipped, write_manifest
from helpers.odd_media import RATE, make_click, split_chunks, write_float_wav

from vssflow_jax.preparation.prepare import prepare
from vssflow_jax.text import alignment, phonemes

# The row of each clip, and what is said about it: id -> (row, words).
LOSSES = {
    "tail": (
        "tail.mp4,,,,,train,",
        "tail.mp4: found 2.09 s of sound for a clip of 2.00 s: the rest of the sound is left out",
    ),
    "truncated": (
        f",truncated.wav,{SENTENCE},,,train,",
        "truncated.wav: truncated: found 3.00 s of sound, expected 10.00 s by its header",
    ),
    "held": (
        "held.mp4,,,,,train,sound",
        "by its header: the last picture is held",
    ),
    "voice": (
        f",voice.wav,{SENTENCE},long.wav,,train,",
        "long.wav: found more than 30 s of sound: the voice is that of the first 30 s",
    ),
    "others": (
        f",voice.wav,{SENTENCE},,others.csv,train,",
        "others.csv: lacks 'blue', 'nine' of the text: the alignment is used",
    ),
    "late": (
        f",voice.wav,{SENTENCE},,late.csv,train,",
        "late.csv: 6 of 15 phonemes begin after the clip's end at 2.00 s: they are left out",
    ),
    "long_late": (
        f",full.wav,{SENTENCE},,long_late.csv,train,",
        "long_late.csv: 2 of 15 phonemes begin after the clip's end at 10.00 s: they are left out",
    ),
    "rest": (
        "rest.mp4,,,,,train,",
        "clip rest: 0.12 s of it are left out: parts shorter than 0.2 s make no window",
    ),
    "opposite": (
        ",opposite.wav,,,,train,",
        "opposite.wav: found channels in opposite phase",
    ),
    "gap": ("gap.mkv,,,,,train,", "gap.mkv: found no sound from 1.00 to 1.50 s"),
    "cut": ("cut.flv,,,,,train,", "cut.flv: truncated: its last part lacks"),
    "patchy": ("patchy.mp4,,,,,train,", "patchy.mp4: found 3 packets of pictures that cannot be"),
    "frozen": ("frozen.mkv,,,,,train,", "frozen.mkv: found no pictures from 0.40 to 2.00 s"),
    "brief": (
        "frozen.mkv,voice.wav,,,,train,",
        "voice.wav: found 2.00 s of sound for a clip of 2.40 s: silence follows it",
    ),
    "late_sound": ("late.mkv,,,,,train,", "late.mkv: found no sound from 0.00 to 1.00 s"),
    "emoji": (f",voice.wav,{SENTENCE} 🙂,,,train,", "text: left out '🙂'"),
}
SKIPPED = {"gone": ("gone.mp4,,,,,train,", "no such file"),
           "mute": (f",voice.wav,{SENTENCE} ж,,,train,", "CYRILLIC")}  # fmt: skip
UNEVEN = 4  # clips whose sound ends between two latent frames


def write_media(folder):
    tone, spoken = fixtures.make_tone, SENTENCE.split()
    tail = [("pcm_s16le", "mono", split_chunks(make_click(2.09, [0.5, 2.05])))]
    odd_media.write_media(folder / "tail.mp4", 50, tail, container="mov")
    odd_media.write_media(folder / "rest.mp4", 103)
    gap = split_chunks(make_click(1, [0.5])) + split_chunks(make_click(0.5, [0.2]), 3 * RATE // 2)
    odd_media.write_media(folder / "gap.mkv", 50, [("pcm_s16le", "mono", gap)])
    late = split_chunks(make_click(1, [0.5]), RATE)
    odd_media.write_media(folder / "late.mkv", 50, [("pcm_s16le", "mono", late)])
    odd_media.write_media(folder / "cut.flv", 50)
    (folder / "cut.flv").write_bytes((folder / "cut.flv").read_bytes()[:-400])
    odd_media.damage_packets(odd_media.write_media(folder / "patchy.mp4"), "video", slice(20, 23))
    odd_media.write_media(folder / "frozen.mkv", 20, numbers=[*range(10), *range(50, 60)])
    fixtures.write_video(folder / "whole.mp4", 4.0)
    odd_media.write_media(folder / "held.mp4", 100, muxing={"movflags": "faststart"})
    data = (folder / "held.mp4").read_bytes()
    (folder / "held.mp4").write_bytes(data[: len(data) - 300])
    fixtures.media.write_wav(folder / "full.wav", tone(10.0, 150))
    (folder / "truncated.wav").write_bytes((folder / "full.wav").read_bytes()[: 44 + 3 * 2 * RATE])
    fixtures.media.write_wav(folder / "voice.wav", tone(2.0, 150))
    fixtures.media.write_wav(folder / "long.wav", tone(31.0, 150))
    for number in range(UNEVEN):
        fixtures.media.write_wav(folder / f"uneven{number}.wav", tone(2.015, 150))
    wave = tone()
    write_float_wav(folder / "opposite.wav", np.stack([wave, -wave], 1))
    symbols = [s for word in phonemes.pronounce(spoken) for s in word]
    others = [s for word in phonemes.pronounce(["set", "at", "g", "now"]) for s in word]
    times = {"others.csv": (others, 0.1, 1.9), "late.csv": (symbols, 0.0, 3.4)}
    for name, (row, start, end) in times.items():
        even = np.linspace(start, end, len(row) + 1)
        intervals = list(map(alignment.Interval, even[:-1], even[1:], row))
        alignment.write_alignment(folder / name, intervals)
    behind = [i._replace(start=i.start + 9, end=i.end + 9) for i in intervals]
    alignment.write_alignment(folder / "long_late.csv", [*intervals[:-2], *behind[-2:]])
    rows = [f"{name},{row}" for name, (row, _) in (LOSSES | SKIPPED).items()]
    rows += [f"uneven{number},,uneven{number}.wav,,,,train," for number in range(UNEVEN)]
    return write_manifest(folder, rows)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("losses")
    manifest = write_media(folder)
    (folder / "annotations.jsonl").write_text('{"id": "nobody", "mouth": [1, 2, 3, 4]}\n')
    error = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stderr(error):
        patch.setattr("vssflow_jax.preparation.prepare.MAX_LISTED", 99)  # so that all are printed
        info = prepare(manifest, folder / "shards", workers=0, max_seconds=4.0)
    return info, error.getvalue().splitlines(), folder / "shards"


@pytest.mark.parametrize("name", LOSSES)
def test_each_loss_is_a_line_of_its_clip(prepared, name):
    info, lines, _ = prepared
    words = LOSSES[name][1]
    notes = info["notes"].get(name, [])
    assert any(words in note for note in notes)
    assert any(line.startswith(f"note: {name}: ") and words in line for line in lines)


@pytest.mark.parametrize("name", SKIPPED)
def test_each_skipped_row_is_a_line(prepared, name):
    info, lines, out = prepared
    assert SKIPPED[name][1] in read_skipped(out)[name] and info["skipped"] == len(SKIPPED)
    assert any(line.startswith(f"  {name}: ") and SKIPPED[name][1] in line for line in lines)


def test_ends_between_two_latent_frames_are_counted(prepared):
    info, lines, _ = prepared
    assert info["cut_ends"] == UNEVEN
    assert any(line.startswith(f"note: {UNEVEN} clips have sound behind") for line in lines)


def test_annotations_of_no_clip_are_a_line(prepared):
    assert any("no clip has the id of 1 annotations, such as 'nobody'" in x for x in prepared[1])


def test_a_gap_moves_nothing(prepared):
    record = read_records(prepared[2])["gap"]
    assert odd_media.find_clicks(record["wave"] / 32_768) == [0.5, 1.7]


def test_words_behind_the_end_of_a_long_clip_cost_no_others(prepared):
    records = read_records(prepared[2])
    said = [records[f"long_late_{k}"]["meta"].get("text", "") for k in range(3)]
    assert " ".join(said).split() == SENTENCE.split()[:-1]
