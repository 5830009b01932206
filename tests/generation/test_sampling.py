"""Sampling options: None is the run's own value, 0 is 0."""

import pytest

from vssflow_jax.common.errors import InputError
from vssflow_jax.config import load_recipe
from vssflow_jax.generation.sampling import SamplingOptions, check_seed


@pytest.fixture
def config():
    config = load_recipe("quickstart")
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
    ],
)
def test_wrong_options_are_errors(config, options, message):
    with pytest.raises(InputError, match=message):
        SamplingOptions(**options).resolve(config)


@pytest.mark.parametrize("seed", [-1, None, 2**32, 0.5])
def test_wrong_seeds_are_errors(seed):
    with pytest.raises(InputError, match="--seed"):
        check_seed(seed)
