"""Speech and other sound of a clip, generated apart and added."""

import dataclasses

import numpy as np
import pytest
from helpers import fixtures

from vssflow_jax import media
from vssflow_jax.common.errors import InputError
from vssflow_jax.generation.sampling import SamplingOptions
from vssflow_jax.generation.stems import APART, STEMS, JointSampling, split_stems

TEXT = "bin red by k two soon"
RECORD = {
    "clip": np.ones((2, 3)), "sync": np.ones((4, 3)), "lips": np.ones((4, 2)),
    "speaker": np.ones(5), "phonemes": np.array([0, 3, 4, 0]), "meta": {"id": "x"},
}  # fmt: skip


def test_a_stem_has_its_own_conditions_and_no_others():
    stems = split_stems(RECORD)
    assert stems["speech"].keys() == {*STEMS["speech"], "meta"}
    assert stems["sound"].keys() == {*STEMS["sound"], "phonemes", "meta"}
    assert stems["speech"]["phonemes"].any() and not stems["sound"]["phonemes"].any()


@pytest.mark.parametrize(
    "absent", [("phonemes",), ("clip", "sync")], ids=["without words", "without pictures"]
)
def test_only_clips_with_words_and_pictures_have_two_stems(absent):
    apart = JointSampling(way=APART)
    assert apart.applies_to(RECORD) and not JointSampling().applies_to(RECORD)
    assert not apart.applies_to({k: v for k, v in RECORD.items() if k not in absent})
    assert not apart.applies_to({**RECORD, "phonemes": np.zeros(4, np.int32)})


def test_the_mix_is_the_sum_of_its_stems_and_never_exceeds_1():
    rng = np.random.default_rng(0)
    for level, loudest in ((0.0, 1.0), (-6.0, 1.0), (-60.0, 0.3)):
        speech, sound = (loudest * rng.uniform(-1, 1, 1000).astype(np.float32) for _ in range(2))
        parts = JointSampling.add(speech, sound, level)
        np.testing.assert_allclose(parts["mix"], parts["speech"] + parts["sound"], atol=1e-6)
        assert np.abs(parts["mix"]).max() <= 1 + 1e-6
        ratio = np.abs(parts["sound"]).sum() / np.abs(parts["speech"]).sum()
        expected = np.abs(sound).sum() / np.abs(speech).sum() * 10 ** (level / 20)
        assert ratio == pytest.approx(expected, rel=1e-5)
    np.testing.assert_array_equal(parts["speech"], speech)  # what fits stays as it is


def test_a_request_and_its_record_are_the_sum_of_speech_and_sound(generator, tmp_path):
    video = fixtures.write_video(tmp_path / "in.mp4", seconds=3)
    options = {"video": video, "text": TEXT, "steps": 2}
    together = generator(**options, stems=True)
    apart = generator(**options, stems=True, joint="apart", sound_level=0.0)
    assert together.report["joint"] == "together" and apart.report["joint"] == "apart"
    for name in STEMS:
        # Griffin-Lim's phases amplify the last bit; a correlation tells same from different.
        assert np.corrcoef(apart.stems[name], together.stems[name])[0, 1] > 0.98
    np.testing.assert_allclose(apart.wave, sum(apart.stems.values()), atol=1e-6)
    assert not generator(**options, joint="apart").stems


def test_a_batch_adds_the_stems_of_each_joint_record(generator):
    rng = np.random.default_rng(0)
    record = {
        "clip": rng.normal(size=(20, 768)).astype(np.float32),
        "phonemes": np.repeat([0, 30, 40, 0, 0], 10),
        "meta": {"id": "x", "duration": 2.0, "alignment": []},
    }
    records = [{**record, "phonemes": np.zeros(50, np.int32)}, record]
    options = SamplingOptions(joint="apart", sound_level=-6.0, steps=2)
    sound, mix = generator.generate_batch(records, options=options)
    only = [*split_stems(record).values()]
    speech, alone = generator.generate_batch(only, options=SamplingOptions(steps=2))
    expected = JointSampling.add(speech, alone, -6.0)["mix"]
    assert np.corrcoef(mix, expected)[0, 1] > 0.98
    assert np.corrcoef(sound, alone)[0, 1] > 0.98


def test_speech_alone_has_its_level_and_nothing_else_has(generator, tmp_path):
    rng = np.random.default_rng(0)
    options = SamplingOptions(steps=2, joint="apart", speech_level=-6.0)
    speech = {"phonemes": np.repeat([30, 40], 25), "meta": {"id": "x", "duration": 2.0}}
    sound = {"clip": rng.normal(size=(20, 768)).astype(np.float32), "meta": speech["meta"]}
    records = [speech, {**sound, "phonemes": np.zeros(50, np.int32)}]
    lower = generator.generate_batch(records, options=options)
    plain = generator.generate_batch(records, options=dataclasses.replace(options, speech_level=0))
    np.testing.assert_allclose(lower[0], plain[0] * 10 ** (-6 / 20), rtol=1e-5, atol=1e-7)
    np.testing.assert_array_equal(lower[1], plain[1])

    alone = [generator(text=TEXT, steps=2, speech_level=level) for level in (0.0, -6.0)]
    np.testing.assert_allclose(alone[1].wave, alone[0].wave * 10 ** (-6 / 20), rtol=1e-5, atol=1e-7)
    assert alone[1].report["speech_level"] == -6.0

    video = fixtures.write_video(tmp_path / "in.mp4", seconds=2)
    apart = {"video": video, "text": "set blue", "steps": 2, "joint": "apart", "stems": True}
    ratios = []
    for level in (0.0, -6.0):
        stems = generator(**apart, speech_level=level).stems
        ratios.append(np.abs(stems["speech"]).sum() / np.abs(stems["sound"]).sum())
    assert ratios[1] / ratios[0] == pytest.approx(10 ** (-6 / 20), rel=1e-3)


def test_beside_a_kept_sound_its_level_decides(generator, tmp_path):
    rng = np.random.default_rng(0)
    kept = rng.uniform(-0.3, 0.3, 2 * 16000).astype(np.float32)
    media.write_wav(tmp_path / "kept.wav", kept)
    options = {"text": "set blue", "steps": 2, "keep": tmp_path / "kept.wav", "redo": "1:1.5"}
    plain, lower = (generator(**options, speech_level=level) for level in (0.0, -12.0))
    np.testing.assert_allclose(lower.wave, plain.wave, rtol=1e-4, atol=1e-6)


def test_levels_without_effect_are_named(generator, tmp_path):
    video = fixtures.write_video(tmp_path / "in.mp4", seconds=2)
    media.write_wav(tmp_path / "kept.wav", 0.1 * np.ones(2 * 16000, np.float32))
    kept = {"text": "set blue", "keep": tmp_path / "kept.wav", "redo": "1:1.5"}
    both = {"video": video, "text": "set blue"}
    for more, expected in (
        (both, "--speech_level, --sound_level: no effect on what is generated together (--joint)"),
        (both | {"joint": "apart"}, ""),
        ({"text": "set blue"}, "--sound_level: no effect on speech without other sound"),
        ({"video": video}, "--speech_level, --sound_level: no effect on sound without speech"),
        (kept, "--speech_level, --sound_level: no effect beside a kept sound, whose level decides"),
    ):
        report = generator(**more, steps=1, speech_level=-1.0, sound_level=2.0).report
        lines = [line for line in report["warnings"] if "no effect" in line]
        assert lines == [expected] * bool(expected)
    assert not [line for line in generator(**kept, steps=1).report["warnings"] if "--" in line]


def test_a_level_without_effect_changes_no_sample(generator, tmp_path):
    """The stem of what is generated together, and the sound in a span of a kept one."""
    rng = np.random.default_rng(0)
    video = fixtures.write_video(tmp_path / "in.mp4", seconds=2)
    media.write_wav(tmp_path / "kept.wav", rng.uniform(-0.3, 0.3, 2 * 16000).astype(np.float32))
    kept = {"text": "set blue", "steps": 1, "keep": tmp_path / "kept.wav", "redo": "1:1.5"}
    both = {"text": "set blue", "steps": 1, "video": video, "joint": "together", "stems": True}
    loud, soft = (
        [
            generator(**kept, speech_level=level).wave,
            *generator(**both, speech_level=level).stems.values(),
        ]
        for level in (0.0, -60.0)
    )
    for one, other in zip(loud, soft, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_sound_that_hides_the_speech_is_softer_and_a_line_says_so(generator, tmp_path):
    video = fixtures.write_video(tmp_path / "in.mp4", seconds=2)
    options = {"video": video, "text": "set blue", "steps": 2, "joint": "apart", "stems": True}
    plain, heard = generator(**options), generator(**options, speech_audibility=1.0)
    assert plain.report["sound_level"] == 0.0
    assert not [line for line in plain.report["warnings"] if "softer" in line]
    lowered = heard.report["sound_level"]
    assert lowered < 0
    assert f"{-lowered:.0f} dB softer" in heard.report["warnings"][-1]
    assert plain.report["speech_heard"] < heard.report["speech_heard"] >= 0.99
    ratio = np.abs(heard.stems["sound"]).sum() / np.abs(plain.stems["sound"]).sum()
    scale = np.abs(heard.stems["speech"]).sum() / np.abs(plain.stems["speech"]).sum()
    assert 20 * np.log10(ratio / scale) == pytest.approx(lowered, abs=0.5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"joint": "both"}, "--joint: found 'both'"),
        ({"speech_level": -99.0}, "--speech_level: found -99"),
        ({"speech_level": 1.0}, "--speech_level: found 1.0, expected -60 to 0 dB"),
        ({"sound_level": 99.0}, "--sound_level: found 99"),
        ({"speech_audibility": 1.5}, "--speech_audibility: found 1.5, expected 0 to 1"),
    ],
    ids=str,
)
def test_unknown_ways_and_levels_out_of_range_are_errors(generator, options, message):
    with pytest.raises(InputError, match=message):
        generator(text=TEXT, **options)
