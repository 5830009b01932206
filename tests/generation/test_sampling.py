"""Sampling options: None is the run's own value, 0 is 0."""

import pytest

from vssflow_jax.common.errors import InputError
from vssflow_jax.config import load_recipe
from vssflow_jax.flow import grids
from vssflow_jax.generation.sampling import SamplingOptions, check_seed
from vssflow_jax.generation.scoring import EvaluationOptions
from vssflow_jax.generation.sentence_scoring import SentenceOptions


@pytest.fixture
def config():
    config = load_recipe("grid")
    config.sample.update({"solver": "heun", "steps": 7, "guidance": 2.0})
    config.sample.scales.sync = 1.5
    return config


def scales_of(config, **options):
    sampling = SamplingOptions(**options).resolve(config)
    return {name: scale for names, scale in sampling.groups for name in names}


def test_none_is_the_runs_own_value(config):
    sampling = SamplingOptions().resolve(config)
    assert (sampling.solver, sampling.steps) == ("heun", 7)
    scales = scales_of(config)
    assert scales.pop("sync") == 1.5 and set(scales.values()) == {2.0}


def test_options_replace_the_runs_values(config):
    sampling = SamplingOptions(solver="euler", steps=3, guidance=4.0).resolve(config)
    assert (sampling.solver, sampling.steps) == ("euler", 3)
    assert scales_of(config, guidance=4.0) == scales_of(config) | dict.fromkeys(
        set(scales_of(config)) - {"sync"}, 4.0
    )


def test_an_evaluation_takes_the_options_of_sampling_that_it_has(config):
    options = EvaluationOptions(steps=3, joint="apart", sound_level=-3.0, speech_audibility=0.5)
    selected = SamplingOptions.select(options)
    assert selected == SamplingOptions(
        steps=3, joint="apart", sound_level=-3.0, speech_audibility=0.5
    )
    joint = selected.resolve_joint(config)
    assert (joint.way, joint.sound_level, joint.speech_audibility) == ("apart", -3.0, 0.5)
    sentences = SentenceOptions(workdir="run", guidance=2.0, speech_level=-1.0)
    assert SamplingOptions.select(sentences) == SamplingOptions(guidance=2.0, speech_level=-1.0)


def test_a_guidance_scale_of_zero_is_zero(config):
    scales = scales_of(config, guidance=0)
    assert scales.pop("sync") == 1.5 and set(scales.values()) == {0.0}
    assert scales_of(config, scales={"sync": 0})["sync"] == 0.0
    assert scales_of(config, scales={"clip": 0.0})["clip"] == 0.0
    assert set(scales_of(config, guidance=0, scales={"sync": 0}).values()) == {0.0}


def test_a_single_scale_of_none_is_the_common_one(config):
    assert scales_of(config, scales={"sync": None})["sync"] == 2.0


def test_scales_of_one_need_no_unconditional_branch(config):
    guided = SamplingOptions(guidance=2.0, scales={"sync": None}).resolve(config)
    plain = SamplingOptions(guidance=1.0, scales={"sync": None}).resolve(config)
    assert len(guided.branches) == 2 and len(plain.branches) == 1
    assert guided.without_scales() != plain.without_scales()
    other = SamplingOptions(guidance=3.0, scales={"sync": None}).resolve(config)
    assert other.without_scales() == guided.without_scales()


def test_the_grid_is_the_runs_own_or_the_options(config):
    assert SamplingOptions().resolve(config).times == grids.uniform_times(7)
    config.sample.grid = "sway"
    assert SamplingOptions().resolve(config).times == grids.sway_times(7)
    assert SamplingOptions(steps=4).resolve(config).times == grids.sway_times(4)
    assert SamplingOptions(grid="uniform").resolve(config).times == grids.uniform_times(7)


@pytest.mark.parametrize("grid", ["0,0.25,1", (0, 0.25, 1)])
def test_times_of_ones_own_take_the_place_of_steps(config, grid):
    sampling = SamplingOptions(grid=grid).resolve(config)
    assert (sampling.times, sampling.steps) == ((0.0, 0.25, 1.0), 2)
    assert sampling.describe()["grid"] == [0.0, 0.25, 1.0]
    config.sample.grid = "0,0.5,0.75,1"
    assert SamplingOptions().resolve(config).steps == 3


def test_the_adaptive_solver_leaves_the_runs_grid_aside(config):
    config.sample.grid = "sway"
    sampling = SamplingOptions(solver="dopri5").resolve(config)
    assert "grid" not in sampling.describe()


def test_variants_of_guidance_are_options_and_in_the_report(config):
    plain = SamplingOptions().resolve(config)
    assert not plain.limited and not {"guidance_interval", "apg"} & plain.describe().keys()
    options = {"guidance_start": 0.1, "guidance_stop": 0.6, "apg_eta": 0.5, "apg_momentum": -0.3}
    varied = SamplingOptions(solver="euler", **options).resolve(config)
    assert varied.limited and varied.settings.projected
    assert varied.describe()["guidance_interval"] == [0.1, 0.6]
    assert varied.describe()["apg"] == {"eta": 0.5, "momentum": -0.3}
    assert varied.without_scales() != plain.without_scales()
    config.sample.update({"solver": "euler", **options})
    assert SamplingOptions().resolve(config) == varied


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "--steps: found 0"),
        ({"steps": 2.5}, "--steps"),
        ({"steps": 100_000}, "--steps"),
        ({"solver": "leapfrog"}, "--solver: found 'leapfrog'"),
        ({"solver": ""}, "--solver: found ''"),
        ({"guidance": float("nan")}, "--guidance"),
        ({"scales": {"sync": float("inf")}}, "--scales: sync"),
        ({"scales": {"smell": 1.0}}, "smell"),
        ({"grid": "sideways"}, "--grid: found 'sideways', expected one of"),
        ({"grid": "0,0.5,0.5,1"}, "--grid"),
        ({"grid": "0.1,1"}, "--grid"),
        ({"grid": ()}, "--grid"),
        ({"grid": "epss", "steps": 8}, "--grid=epss: found 8 steps, expected one of"),
        ({"grid": "0,0.5,1", "steps": 3}, "--steps: found 3, expected 2"),
        ({"grid": "sway", "solver": "dopri5"}, "--grid: found 'sway' beside --solver=dopri5"),
        ({"guidance_start": 0.8, "guidance_stop": 0.2}, "found 0.8 and 0.2, expected"),
        ({"guidance_stop": float("nan")}, "--guidance_stop"),
        ({"apg_eta": float("inf")}, "--apg_eta"),
        ({"apg_momentum": -0.3}, "--solver: found 'heun' beside --apg_momentum=-0.3"),
    ],
)
def test_wrong_options_are_errors(config, options, message):
    with pytest.raises(InputError, match=message):
        SamplingOptions(**options).resolve(config)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"speech_level": "-3"}, "--speech_level: found '-3', expected -60 to 0 dB"),
        ({"speech_level": 1.0}, "--speech_level: found 1.0, expected -60 to 0 dB"),
        ({"sound_level": [3]}, r"--sound_level: found \[3\], expected -60 to 60 dB"),
        ({"speech_audibility": 2}, "--speech_audibility: found 2, expected 0 to 1"),
        ({"joint": "alone"}, "--joint: found 'alone', expected one of"),
    ],
)
def test_wrong_levels_are_errors(config, options, message):
    with pytest.raises(InputError, match=message):
        SamplingOptions(**options).resolve_joint(config)


@pytest.mark.parametrize("seed", [-1, None, 2**32, 0.5])
def test_wrong_seeds_are_errors(seed):
    with pytest.raises(InputError, match="--seed"):
        check_seed(seed)
