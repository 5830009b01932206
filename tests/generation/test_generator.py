"""The generator: videos in, mp4 out; noise, batches, windows, stems, and wrong arguments."""

import json

import av
import numpy as np
import pytest
from helpers import fixtures

from vssflow_jax import Generator, conditions, media
from vssflow_jax.codecs import interface as codecs
from vssflow_jax.common.errors import InputError
from vssflow_jax.data import shards
from vssflow_jax.features import face_mesh
from vssflow_jax.generation import synthesis
from vssflow_jax.generation.request import Request
from vssflow_jax.generation.sampling import SamplingOptions
from vssflow_jax.generation.synthesis import draw_noise
from vssflow_jax.preparation.prepare import prepare


@pytest.fixture(scope="module")
def records(tiny_run):
    split = shards.open_split(tiny_run / "shards", "test")
    return [split[row] for row in range(len(split))]


def video_packets(path):
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(video=0) if packet.size]


def test_noise_depends_on_id_and_seed_alone():
    noise = draw_noise("a", 0, 20, 4)
    np.testing.assert_array_equal(noise, draw_noise("a", 0, 20, 4))
    np.testing.assert_array_equal(noise[:10], draw_noise("a", 0, 10, 4))
    assert np.abs(noise - draw_noise("b", 0, 20, 4)).max() > 0.1
    assert np.abs(noise - draw_noise("a", 1, 20, 4)).max() > 0.1


def test_a_clip_sounds_the_same_in_any_batch(generator, records):
    together = generator.generate_batch(records[:3], batch_size=4)
    alone = generator.generate_batch(records[1:2], batch_size=4)[0]
    assert len(alone) == round(records[1]["meta"]["duration"] * 16_000)
    # Griffin-Lim's phases amplify the last bit; a correlation tells same from different.
    assert np.corrcoef(together[1], alone)[0, 1] > 0.98


@pytest.mark.parametrize("name", [*fixtures.REAL_VIDEOS, "short.mp4", "said.mp4"])
def test_a_media_file_and_its_shard_have_the_same_sound(generator, name, tmp_path):
    """Conditions and noise depend on the file, and not on the row's id."""
    text = "set blue at g nine now" if name == "said.mp4" else ""
    source = fixtures.find_real_video(name) if name in fixtures.REAL_VIDEOS else tmp_path / name
    if not source.exists():
        fixtures.write_video(source, 1.3 if name == "short.mp4" else 4.0, sound=False)
    (tmp_path / "clips.csv").write_text(f"id,split,video,text\nx,test,{source},{text}\n")
    prepare(tmp_path / "clips.csv", tmp_path / "shards", workers=0, progress=False)
    (record,) = shards.open_split(tmp_path / "shards", "test")
    raw = generator(video=source, text=text or None, seed=3)
    np.testing.assert_array_equal(raw.wave, generator.generate_batch([record], seed=3)[0])
    assert ("phonemes" in record) == bool(text) and len(raw.wave) > 16_000


def test_a_clip_sounds_the_same_among_longer_ones(generator, records, tmp_path):
    source = fixtures.write_video(tmp_path / "short.mp4", 1.3)
    (tmp_path / "clips.csv").write_text(f"id,split,video\nx,test,{source}\n")
    prepare(tmp_path / "clips.csv", tmp_path / "shards", workers=0, progress=False)
    short = shards.open_split(tmp_path / "shards", "test")[0]
    among = generator.generate_batch([records[0], short, records[1]])
    assert [len(wave) for wave in among] == [64_000, 20_480, 64_000]
    np.testing.assert_array_equal(among[1], generator(video=source).wave)


def test_seed_and_text_matter(generator):
    one, same, other = (generator(text="bin red by k two soon", seed=s).wave for s in (0, 0, 1))
    np.testing.assert_array_equal(one, same)
    assert np.abs(one - other).max() > 1e-3


@pytest.mark.parametrize("name", fixtures.REAL_VIDEOS)
def test_real_videos_keep_their_packets_and_length(generator, name, tmp_path):
    source, out = fixtures.find_real_video(name), tmp_path / "out.mp4"
    text = "set blue at g nine now" if name.startswith("carphone") else None
    output = generator(video=source, text=text)
    output.save(out)
    assert video_packets(out) == video_packets(source)
    duration = media.probe(source).duration
    assert len(media.read_audio(out)) == pytest.approx(duration * 16_000, abs=16_000 / 25)
    assert len(media.read_audio(tmp_path / "out.wav")) == len(output.wave)
    assert ("phonemes" in output.report["used"]) == (text is not None)
    sees = text is not None and face_mesh.is_available()  # lips of those who speak, where it can
    assert "lips" in output.report["used" if sees else "missing"]
    follows = output.report["times"] == "lips"
    assert follows == (-1 <= output.report.get("lip_agreement", -9) <= 1)
    json.dumps(output.report)


def test_requested_times_are_kept(generator):
    output = generator(
        text="set blue at g nine now", speech_start=1.0, speech_end=3.0, duration=4.0
    )
    times = output.report["alignment"]
    assert times[0][0] == pytest.approx(1.0) and times[-1][1] == pytest.approx(3.0)
    assert len(output.wave) == 64_000


def test_a_rushed_text_gets_a_warning(generator):
    output = generator(
        text="set blue at g nine now", speech_start=0.0, speech_end=1.0, duration=4.0
    )
    assert "rushed" in output.report["warnings"][0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "neither --video nor --text"),
        ({"text": "   "}, "text"),
        ({"text": "\u4f60\u597d"}, "text"),
        ({"text": "set blue", "speech_start": 2.0, "speech_end": 1.0}, "--speech_end"),
        ({"text": "set blue at g nine now", "speech_start": 0.0, "speech_end": 0.2}, "phonemes"),
        ({"text": "set blue", "speech_start": 9.0, "duration": 4.0}, "--speech_start"),
        ({"video": "nowhere.mp4"}, "nowhere.mp4"),
        ({"text": "set blue", "steps": 0}, "--steps"),
        ({"text": "set blue", "seed": None}, "--seed"),
        ({"text": "set blue", "duration": 0}, "--duration"),
    ],
)
def test_wrong_arguments_are_errors(generator, arguments, message):
    with pytest.raises(InputError, match=message):
        generator(**arguments)


def test_an_unknown_argument_is_a_type_error(generator):
    with pytest.raises(TypeError, match="lenght"):
        generator(text="set blue", lenght=3.0)


def test_guidance_of_zero_ignores_every_condition(generator):
    """At a scale of 0 the unconditional branch alone remains, whatever the text says."""
    scales = dict.fromkeys(conditions.NAMES, 0)
    one, two = (
        generator(text=text, duration=2.0, guidance=0, scales=scales)
        for text in ("bin red by k two soon", "set blue at g nine now")
    )
    assert {scale for _, scale in one.report["guidance"]} == {0.0}
    np.testing.assert_array_equal(one.wave, two.wave)


LINES = (
    {"text": "bin red by k two soon", "start": 0.5},
    {"text": "set blue at g nine now", "start": 6.0, "end": 8.0},
)


def test_a_script_longer_than_the_training_clips(generator):
    """Windows in one chunk and in several give the same sound."""
    output = generator(script=LINES, duration=10.0)
    assert len(output.wave) == 160_000
    assert [span[0] for span in output.report["spans"]] == [0.5, 6.0]
    alone = Generator(generator.config, generator.params, generator.codec, generator.statistics)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(synthesis, "MAX_WINDOWS_AT_ONCE", 1)
        again = alone(script=LINES, duration=10.0)
    assert not alone.synthesizer._decode._cache_size()  # a thread compiled it meanwhile
    assert np.corrcoef(output.wave, again.wave)[0, 1] > 0.98


def test_each_line_has_its_voice(generator, tiny_run):
    """Another second voice changes little before its line, through the shared windows alone."""
    one, two, *_ = sorted((tiny_run / "corpus" / "voices").glob("*.wav"))
    same = generator(script=[LINES[0], {**LINES[1], "speaker": one}], speaker=one, duration=10.0)
    both = generator(script=[LINES[0], {**LINES[1], "speaker": two}], speaker=one, duration=10.0)
    assert "speaker" in both.report["used"]
    changed = np.abs(same.wave - both.wave)
    assert changed[: 2 * 16_000].max() < changed[6 * 16_000 : 8 * 16_000].max() / 2


def test_stems_and_progress(generator, tmp_path):
    video, fractions = fixtures.write_video(tmp_path / "in.mp4", seconds=4), []
    output = generator(
        video=video, text="bin red by k two soon", stems=True, steps=4, progress=fractions.append
    )
    assert fractions == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert set(output.stems) == {"speech", "sound"}
    without_text = generator(video=video, steps=4)
    assert np.corrcoef(without_text.wave, output.stems["sound"])[0, 1] > 0.98
    assert [path.name for path in output.save(tmp_path / "out.mp4")] == [
        "out.mp4", "out.wav", "out.speech.wav", "out.sound.wav",
    ]  # fmt: skip
    alone = generator(text="bin red by k two soon", stems=True)
    np.testing.assert_array_equal(alone.stems["speech"], alone.wave)


def test_candidates_equal_single_outputs_of_their_seeds(generator):
    request = Request.parse(text="bin red by k two soon")
    one, two = generator.generate_candidates(request, [4, 7], SamplingOptions())
    assert (one.report["seed"], two.report["seed"]) == (4, 7)
    again = generator(text="bin red by k two soon", seed=7)
    assert np.corrcoef(two.wave, again.wave)[0, 1] > 0.98


def test_a_silent_voice_is_an_error(generator, tmp_path):
    media.write_wav(tmp_path / "silence.wav", np.zeros(16_000, np.float32))
    with pytest.raises(InputError, match=r"silence\.wav"):
        generator(text="set blue", speaker=tmp_path / "silence.wav")


def test_another_codec_is_an_error(tiny_run, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    for name in ("checkpoints", "config.json", "statistics.json"):
        (run / name).symlink_to(tiny_run / name)
    codec = codecs.load_codec(tiny_run / "codec")
    codecs.save_codec(codec.replace(scale=codec.scale * 2), run / "codec")
    with pytest.raises(InputError, match="codec: found"):
        Generator.from_workdir(run)
