"""A student in the generator: few evaluations, guidance scales as inputs, what it did not learn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import fixtures
from helpers.small_model import randomize

from vssflow_jax import Generator, conditions
from vssflow_jax.common.errors import InputError
from vssflow_jax.data import shards
from vssflow_jax.generation.export import render_card
from vssflow_jax.generation.sampling import SamplingOptions
from vssflow_jax.models import dit, layers, vssflow

TEXT = "set blue at g nine now"


@pytest.fixture(scope="module")
def teacher(generator):
    return generator


def make_student(teacher, scale):
    """A student with the teacher's weights, and parts of its own at random, of some size."""
    config = teacher.config.copy_and_resolve_references()
    config.train.task = "distill"
    size = vssflow.build_model(config, teacher.codec.channels).dit_config
    parts = {
        "span": dit.span_token(size).init(jax.random.key(0), jnp.zeros(1)),
        "scales": layers.ScaleToken(size.width).init(
            jax.random.key(0), jnp.ones((1, len(conditions.NAMES)))
        ),
        "guidance": dit.guidance_heads(size).init(jax.random.key(0), jnp.zeros((1, 1, size.width))),
    }
    own = randomize({name: variables["params"] for name, variables in parts.items()})
    own["guidance"] = jax.tree.map(lambda leaf: 0.02 * leaf, own["guidance"])  # adds to the output
    own = jax.tree.map(lambda leaf: scale * leaf, own)
    params = {**teacher.params, "dit": {**teacher.params["dit"], **own}}
    return Generator(config, params, teacher.codec, teacher.statistics)


@pytest.fixture(scope="module")
def student(teacher):
    return make_student(teacher, 5.0)


def latent_of(generator, text=TEXT, **options):
    """The latent of a text, by the generator's own path but for the codec."""
    latents = []
    generator.synthesizer._decode_latent = lambda latent: (
        latents.append(latent) or np.zeros((len(latent), latent.shape[1] * 640), np.float32)
    )
    try:
        output = generator(text=text, **options)
    finally:
        del generator.synthesizer._decode_latent
    return np.asarray(latents[0]), output


def test_the_first_student_is_its_teacher_without_guidance(teacher):
    first = make_student(teacher, 0.0)
    scales = dict.fromkeys(conditions.NAMES)
    theirs, _ = latent_of(teacher, steps=4, guidance=1.0, scales=scales)
    ours, output = latent_of(first, steps=4, guidance=3.0, scales=scales)
    np.testing.assert_allclose(ours, theirs, atol=1e-4)
    assert output.report["student"] == {"evaluations": [1, 2, 4, 8], "scales": [1.0, 4.0]}
    assert output.report["warnings"] == []


@pytest.mark.parametrize("steps", [1, 2, 8])
def test_evaluations_scales_and_spans_act_on_one_program(student, steps):
    base, _ = latent_of(student, steps=steps, guidance=2.0)
    programs = student.synthesizer._solve._cache_size()
    voiced, _ = latent_of(student, steps=steps, guidance=2.0, scales={"phonemes": 3.5})
    assert np.abs(voiced - base).max() > 1e-3
    absent, _ = latent_of(student, steps=steps, guidance=2.0, scales={"clip": 3.5})
    np.testing.assert_array_equal(absent, base)  # there is no video
    assert student.synthesizer._solve._cache_size() == programs


def test_long_clips_stems_and_several_voices(student, teacher, tiny_run, tmp_path):
    voices = sorted((tiny_run / "corpus" / "voices").glob("*.wav"))[:2]
    video = fixtures.write_video(tmp_path / "in.mp4", seconds=2)
    lines = [
        {"text": TEXT, "start": 0.5, "speaker": voices[0]},
        {"text": TEXT, "start": 5.0, "speaker": voices[1]},
    ]
    options = {"steps": 2, "scales": {"sync": 2.5, "speaker": 1.5}}
    spoken = student(script=lines, duration=9.0, **options)
    both = student(video=video, text=TEXT, speech_start=0.2, stems=True, **options)
    assert len(spoken.wave) == 9 * 16_000 and np.ptp(spoken.wave) > 0
    assert set(both.stems) == {"speech", "sound"}
    assert np.abs(both.stems["speech"] - both.wave).max() > 1e-3


def test_a_split_of_shards(student, tiny_run):
    records = shards.open_split(tiny_run / "shards", "test")
    options = SamplingOptions(steps=2)
    waves = student.generate_batch([records[0], records[1]], options=options)
    assert all(np.isfinite(wave).all() for wave in waves)


def test_what_it_did_not_learn_is_said(student):
    options = {"guidance": 2.0, "scales": {"sync": 5.0, "clip": 0.5, "speaker": None}}
    sampling = SamplingOptions(steps=20, **options).resolve(student.config)
    scales, evaluations = sampling.warnings
    assert scales == (
        "guidance scales clip 0.5, sync 5: the model is a student that learned 1 to 4"
    )
    assert evaluations == "20 evaluations: the model is a student meant for 1, 2, 4, 8"
    output = student(text=TEXT, steps=2, **options)
    assert output.report["warnings"] == [scales]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"solver": "heun"}, "^--solver=heun: found with a student, expected a flow model"),
        ({"guidance_stop": 0.5}, "^--guidance_start, --guidance_stop: found with a student"),
        (
            {"solver": "rk4", "apg_eta": 0.5},
            "^--solver=rk4, --apg_eta, --apg_momentum: found with a student",
        ),
    ],
)
def test_variants_of_guidance_are_errors(student, options, message):
    with pytest.raises(InputError, match=message):
        SamplingOptions(**options).resolve(student.config)


def test_a_student_takes_any_grid(student):
    sampling = SamplingOptions(grid="0,0.2,1").resolve(student.config)
    assert sampling.times == (0, 0.2, 1) and sampling.steps == 2


def test_the_card_says_what_it_is_meant_for(student, teacher):
    facts = {
        "name": "small", "step": 3, "init_from": "teacher", "parameters": 9, "dtype": "float16",
        "weights": "w", "codec": "c", "dataset": "d",
    }  # fmt: skip
    card = render_card(facts, student.config, {})
    assert "A student of `teacher`, meant for 1, 2, 4 or 8 evaluations" in card
    assert "guidance scales from 1 to 4" in card
    assert "student" not in render_card(facts, teacher.config, {})
