"""Recipes: sizes, and what they change."""

import functools
import json
import re

import jax
import pytest
from helpers.paths import ROOT

from vssflow_jax import conditions
from vssflow_jax.codecs.oobleck import OobleckConfig
from vssflow_jax.config import fields as base
from vssflow_jax.config import load_recipe
from vssflow_jax.config.recipes import load_recipe_module
from vssflow_jax.data import pipeline
from vssflow_jax.models import vssflow
from vssflow_jax.training import checkpoint, sharding
from vssflow_jax.training.flow_step import make_init_state
from vssflow_jax.training.state import count_parameters

PAPERS = ("joint", "v2s", "visualtts", "tts", "joint_synthetic")
IMPROVED = tuple(f"{name}_improved" for name in PAPERS)
ABLATIONS = tuple(
    f"ablations/{path.stem}" for path in sorted((ROOT / "configs" / "ablations").glob("*.py"))
)
IMPROVED_FIELDS = {
    "dropout.granularity",
    "dropout.each",
    "flow.mask_padding",
    "model.cross_attention_rope",
    "model.learned_null_phonemes",
    "model.time_aligned_sync",
    "model.duration_width",
}


def changed(config, other) -> set[str]:
    one, two = base.flatten(config), base.flatten(other)
    assert one.keys() == two.keys()
    return {name for name in one if one[name] != two[name]}


@functools.cache
def sizes(model: str, channels: int = 128) -> tuple[int, int]:
    """Parameters of the network and of the whole, for `config.model` as JSON."""
    config = base.default_config()
    config.model.update(json.loads(model))
    rates = {condition.name: condition.rate for condition in conditions.CONDITIONS}
    spec = pipeline.BatchSpec.from_duration(config.data.duration, rates)
    mesh = sharding.make_mesh({"data": 1, "fsdp": 1, "tensor": 1}, jax.devices()[:1])
    make = make_init_state(vssflow.build_model(config, channels), config, spec, channels, mesh)
    params = jax.eval_shape(make).params
    return count_parameters(params["dit"]), count_parameters(params)


@pytest.mark.parametrize("name", PAPERS + IMPROVED + ABLATIONS)
def test_docstrings_say_the_true_number_of_parameters(name):
    module = load_recipe_module(name)
    said = re.findall(r"\d+(?:,\d{3})+", module.__doc__)
    assert {f"{size:,}" for size in sizes(module.get_config().model.to_json())} <= set(said)
    assert f"configs/{name}.py" in module.__doc__


def test_the_recipe_at_48_khz_is_the_paper_s_network_on_64_channels():
    module, config = load_recipe_module("joint_48k"), load_recipe("joint_48k")
    network, total = sizes(config.model.to_json(), OobleckConfig().latent_channels)
    assert f"{network:,} parameters in the network, {total:,} in all" in module.__doc__
    width, route = config.model.heads * config.model.head_dim, conditions.ROUTES["joint"]
    wide, narrow = route.input_width(128), route.input_width(64)
    projections, convolutions = 2 * (wide - narrow) * width, 2 * (wide**2 - narrow**2)
    assert sizes(load_recipe("joint_improved").model.to_json())[0] - network == (
        projections + convolutions  # at the input and at the output
    )
    assert (OobleckConfig().sample_rate, 2) == (config.data.sample_rate, config.data.audio_channels)
    assert OobleckConfig().hop * conditions.LATENT_RATE == config.data.sample_rate


def test_the_joint_recipe_has_the_published_size():
    config = load_recipe("joint")
    assert sizes(config.model.to_json()) == (453_073_024, 463_565_184)
    assert config.model.time_features // 2 == 128  # fixed frequencies, counted above


def test_the_joint_recipe_trains_as_published():
    config = load_recipe("joint")
    values = base.flatten(config)
    better = base.flatten(base.improved(config))
    assert not any(values[name] == better[name] for name in IMPROVED_FIELDS)
    assert (values["dropout.granularity"], values["dropout.all"]) == ("batch", 0.1)
    assert (values["optim.max_grad_norm"], values["optim.ema_decay"]) == (None, 0)
    assert values["optim.learning_rate"] == pytest.approx(values["data.batch_size"] * 4e-7)
    assert (values["optim.warmup_steps"], values["sample.guidance"]) == (2000, 3.0)


@pytest.mark.parametrize("name", PAPERS)
def test_improved_recipes_change_their_fields_alone(name):
    assert changed(load_recipe(name), load_recipe(f"{name}_improved")) == IMPROVED_FIELDS


@pytest.mark.parametrize("name", PAPERS[1:] + ABLATIONS)
def test_recipes_keep_the_rule_of_the_learning_rate(name):
    config = load_recipe(name)
    assert config.optim.learning_rate == pytest.approx(config.data.batch_size * 4e-7)


def test_recipes_differ_in_what_they_are_named_after():
    paper = load_recipe("joint")
    assert changed(paper, load_recipe("v2s")) == {"data.tasks"}
    assert changed(paper, load_recipe("visualtts")) == {"data.tasks"}
    assert changed(load_recipe("visualtts"), load_recipe("tts")) == {"dropout.video"}
    ablated = {name: changed(paper, load_recipe(name)) for name in ABLATIONS}
    routes = {f"ablations/{name}" for name in conditions.ROUTES if name != "joint"}
    assert {name for name, fields in ablated.items() if fields == {"model.route"}} == routes
    others = {name: fields for name, fields in ablated.items() if name not in routes}
    assert others == {
        "ablations/layers_5": {"model.layers"},
        "ablations/layers_15": {"model.layers"},
        "ablations/masked_lips": {"dropout.frame_ratios"},
    }


def test_a_student_has_the_network_and_data_of_its_teacher(tmp_path):
    teacher, student = checkpoint.read_config("natural"), load_recipe("distill")
    assert (student.train.task, student.train.init_from) == ("distill", "natural")
    groups = {name.split(".")[0] for name in changed(teacher, student)}
    assert groups <= {"train", "optim", "dropout", "sample", "distill"}
    assert student.distill.teacher == "guided"
    (tmp_path / "config.json").write_text(student.to_json())
    second = load_recipe_module("distill").get_config(str(tmp_path))
    assert (second.distill.teacher, second.train.init_from) == ("average", str(tmp_path))
    assert second.optim.learning_rate < student.optim.learning_rate
