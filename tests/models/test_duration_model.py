"""The duration model: the runs that it learns from, what it learns, training beside the network."""

import concurrent.futures
import functools
import itertools
import json
import multiprocessing

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax.traverse_util import flatten_dict
from helpers import small_runs, train_steps

from vssflow_jax.common import safetensors_io
from vssflow_jax.models import duration_model
from vssflow_jax.training import checkpoint, optim, sharding
from vssflow_jax.weights.network import revert

SILENCE = [0] * duration_model.PAUSE_FRAMES


# ---- runs ---------------------------------------------------------------------------------

find_runs = jax.jit(duration_model.find_runs)


def list_runs(ids, end=None, length=None):
    """The runs of one clip, (id, frames, is complete), without padding."""
    padded = np.pad(ids, (0, (length or len(ids)) - len(ids)))
    runs = find_runs(padded[None], np.asarray([end or len(ids)]))
    rows = zip(*(x[0].tolist() for x in (runs.ids, runs.frames, runs.is_complete)), strict=True)
    return [row for row in rows if row[1]]


def test_runs_are_separated_and_short_pauses_left_out():
    assert list_runs([0, 0, 5, 5, 5, 7, 0, 7, 7, 0]) == [(5, 3, True), (7, 1, True), (7, 2, True)]
    assert list_runs([0, 0, 0, 0]) == []


def test_runs_that_an_edge_may_have_cut_are_not_complete():
    assert list_runs([5, 5, 7, 9, 9]) == [(5, 2, False), (7, 1, True), (9, 2, False)]
    assert list_runs([0, 5, 5, 0, 0, 0], end=3) == [(5, 2, False)]
    assert list_runs([0, 5, 5, 0, 0, 0], end=4) == [(5, 2, True)]


def test_long_silences_separate_utterances():
    expected = [(5, 1, True), (0, len(SILENCE), False), (7, 1, True)]
    assert list_runs([0, 5, *SILENCE, 7, 0]) == expected
    assert list_runs([0, 5, *SILENCE[1:], 7, 0]) == [expected[0], expected[2]]


@pytest.mark.parametrize("seed", range(20))
def test_runs_are_those_of_a_simple_loop(seed):
    rng = np.random.default_rng(seed)
    end = int(rng.integers(1, 61))
    ids = np.repeat(rng.integers(0, 4, 60), rng.integers(1, 12, 60))[:end].tolist()
    expected, at = [], 0
    for name, group in itertools.groupby(ids):
        count, start = len(list(group)), at
        at += count
        if name or count >= duration_model.PAUSE_FRAMES:
            expected.append((name, count, bool(name) and start > 0 and at < end))
    if not ids[-1]:  # the padding makes the last silence longer
        expected = [row for row in expected if row[0]]
        assert [row for row in list_runs(ids, length=60) if row[0]] == expected
    else:
        silence = [(0, 60 - end, False)] * (60 - end >= duration_model.PAUSE_FRAMES)
        assert list_runs(ids, length=60) == expected + silence


# ---- learning -----------------------------------------------------------------------


def make_batch(clips_of_ids, length=60, voices=None):
    """The inputs of the network in a training batch; a voice is a number or None."""
    count = len(clips_of_ids)
    voices = [0.0] * count if voices is None else voices
    speakers = np.zeros((count, 256), np.float16)
    speakers[:, 0] = [10 * (voice or 0) for voice in voices]
    speakers[:, 1] = 5
    return {
        "features": {
            "phonemes": np.asarray([np.pad(ids, (0, length - len(ids))) for ids in clips_of_ids]),
            "speaker": speakers,
        },
        "present": {"speaker": np.asarray([v is not None for v in voices], np.float32)},
        "frames": np.full(count, length),
    }


@functools.cache
def random_network():
    """A network with random weights."""
    network, rng = duration_model.DurationNetwork(8), np.random.default_rng(0)
    params = jax.jit(functools.partial(duration_model.init_params, network))(jax.random.key(0))
    return network, jax.tree.map(
        lambda x: np.asarray(x) + 0.3 * rng.standard_normal(x.shape, np.float32), params
    )


def test_padding_changes_nothing():
    network, params = random_network()
    speaker = np.random.default_rng(1).standard_normal((1, 256), np.float32)
    ids = np.asarray([[5, 9, 9, 20, 3]])

    @jax.jit
    def frames(ids):
        return network.apply({"params": params}, ids, speaker, jnp.ones(1))[0]

    alone = frames(ids)
    # Log frames near 0 are small sums of larger terms: their error is that of the terms.
    same = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6)
    same(frames(np.pad(ids, ((0, 0), (0, 30))))[:5], alone)
    same(frames(np.pad(ids, ((0, 0), (30, 0))))[30:], alone)
    assert np.ptp(alone) > 0.01


def test_the_loss_ignores_padding_and_cut_phonemes():
    network, params = random_network()
    key = jax.random.key(0)
    ids = [0, 5, 5, 7, 7, 7, 0]
    loss = jax.jit(jax.value_and_grad(functools.partial(duration_model.duration_loss, network)))
    one, _ = loss(params, make_batch([ids]), key)
    assert one > 0
    for other in (make_batch([ids], length=90), make_batch([ids, [0] * 9])):
        np.testing.assert_allclose(loss(params, other, key)[0], one, rtol=1e-5)
    assert loss(params, make_batch([[0] * 9]), key)[0] == 0  # not NaN, where nobody speaks
    _, gradient = loss(params, make_batch([[5] * 60]), key)  # cut at both ends
    assert not any(leaf.any() for leaf in jax.tree.leaves(gradient))


def draw_ids(rng, voice):
    """Phonemes 1 to 4, of four frames before an odd one, else two; with voice 1 half as many."""
    names = [1]
    while len(names) < 9:
        names.append(int(rng.choice([n for n in range(1, 5) if n != names[-1]])))
    frames = [4 if after % 2 else 2 for after in names[1:]]
    return [0] + [n for n, k in zip(names, frames, strict=False) for _ in range(k // (1 + voice))]


def test_it_learns_from_the_next_phoneme_and_the_voice():
    config = train_steps.small(train__steps=200, optim__warmup_steps=10)
    rng, rule = np.random.default_rng(0), optim.make_optimizer(config)
    network = duration_model.DurationNetwork(16)
    init = jax.jit(functools.partial(duration_model.init_params, network))
    params = {duration_model.PARAMS_KEY: init(jax.random.key(0))}
    state, losses = rule.init(params), []

    @jax.jit
    def advance(params, state, batch, key):
        def loss(params):
            return duration_model.duration_loss(
                network, params[duration_model.PARAMS_KEY], batch, key
            )

        value, gradient = jax.value_and_grad(loss)(params)
        updates, state = rule.update(gradient, state, params)
        return optax.apply_updates(params, updates), state, value

    for number in range(config.train.steps):
        voices = rng.integers(0, 2, 16)
        batch = make_batch([draw_ids(rng, voice) for voice in voices], voices=voices.tolist())
        params, state, value = advance(params, state, batch, jax.random.key(number))
        losses.append(float(value))
    assert np.mean(losses[-20:]) < 0.25 * np.mean(losses[:5])  # the voice is dropped at times
    predict = duration_model.make_predictor(network, params[duration_model.PARAMS_KEY])
    ids = np.array([1, 2, 3, 4, 1])
    for voice, quick in ((0.0, 1), (10.0, 2)):
        embedding = np.zeros(256, np.float16)
        embedding[:2] = voice, 5
        frames = 25 * np.array(predict(ids, embedding))[:-1]
        np.testing.assert_allclose(frames, np.array([2, 4, 2, 4]) / quick, rtol=0.25)


# ---- beside the velocity network --------------------------------------------------------------


def one_device():
    return sharding.make_mesh({"data": 1, "fsdp": 1, "tensor": 1}, jax.devices()[:1])


def take_three_steps(kind, width):
    """First parameters, last parameters and averages, and last metrics, as host arrays."""
    config = train_steps.small(model__duration_width=width, model__layers=1, optim__name=kind)
    mesh = one_device()
    state, advance, codec = train_steps.start(config, mesh)
    began = jax.device_get(state.params)
    for number in range(3):
        state, metrics = advance(
            state, codec, sharding.place_batch(train_steps.batch(number), mesh)
        )
    assert metrics["grad_norm"] > config.optim.max_grad_norm / 100
    return began, *jax.device_get((state.params, state.ema, metrics))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_updates_of_the_velocity_network_are_bit_identical_with_and_without_it(kind, monkeypatch):
    """In processes that compile as users do: the tests' quick compiler rounds by program."""
    monkeypatch.setenv("XLA_FLAGS", "")
    spawn = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=spawn) as pool:
        without, beside = pool.map(take_three_steps, (kind, kind), (0, 8))
    assert without[-1]["grad_norm"] == beside[-1]["grad_norm"]
    assert "durations_loss" in beside[-1] and "durations_loss" not in without[-1]
    own = [tree.pop(duration_model.PARAMS_KEY) for tree in beside[:-1]]
    jax.tree.map(np.testing.assert_array_equal, beside[:-1], without[:-1])
    for trained in own[1:]:
        pairs = zip(*map(jax.tree.leaves, (own[0], trained)), strict=True)
        assert any(np.any(first != last) for first, last in pairs)


def test_other_gradients_do_not_reach_the_clipping():
    rule = optim.make_optimizer(train_steps.small(optim__name="adamw"))
    params = {"dit": jnp.ones(3), duration_model.PARAMS_KEY: jnp.ones(3)}
    state = rule.init(params)

    @jax.jit
    def update(size):
        gradient = {"dit": jnp.ones(3), duration_model.PARAMS_KEY: jnp.full(3, size)}
        return rule.update(gradient, state, params)[1].inner_states

    small, large = update(1e-3), update(1e3)
    jax.tree.map(np.testing.assert_array_equal, small["main"], large["main"])


def run(workdir, **changes):
    """A run of the small network."""
    changes = {"train__steps": 4, **changes}
    return small_runs.run(workdir, small_runs.Batches(good=99), **changes)


@pytest.mark.slow
def test_resuming_is_exact(tmp_path):
    uninterrupted = run(tmp_path / "uninterrupted")
    uninterrupted.train(lambda *_: None)
    small_runs.train_until(run(tmp_path / "parts"), 2)
    resumed = run(tmp_path / "parts")
    assert resumed.step == 2
    resumed.train(lambda *_: None)
    jax.tree.map(np.testing.assert_array_equal, uninterrupted.state, resumed.state)
    lines = (tmp_path / "parts" / "metrics.jsonl").read_text().splitlines()
    assert all(json.loads(line)["durations_loss"] > 0 for line in lines)


@pytest.mark.slow
def test_training_from_weights_adds_keeps_or_drops_it(tmp_path):
    for name, width in (("without", 0), ("with", 64)):
        params = jax.tree.map(
            lambda x: x + 1, run(tmp_path / name, model__duration_width=width).state
        )
        flat = {path: np.asarray(x) for path, x in flatten_dict(params.ema, sep="/").items()}
        safetensors_io.write_arrays(tmp_path / name / checkpoint.WEIGHTS_FILE, flat)

    def start_from(name, width):
        folder = str(tmp_path / name)
        return run(
            tmp_path / f"{name}{width}", train__init_from=folder, model__duration_width=width
        ).state

    fresh, kept, left = start_from("without", 64), start_from("with", 64), start_from("with", 0)
    assert (
        fresh.params.keys() == fresh.ema.keys() == {"conditioner", "dit", duration_model.PARAMS_KEY}
    )
    jax.tree.map(np.testing.assert_array_equal, fresh.params["dit"], kept.params["dit"])
    own, before = fresh.params[duration_model.PARAMS_KEY], kept.params[duration_model.PARAMS_KEY]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a + 1, b), own, before)
    assert left.params.keys() == {"conditioner", "dit"}


def test_official_checkpoints_are_written_without_it(tiny_run, tmp_path):
    summary = revert(tiny_run, tmp_path / "official.safetensors")
    params = dict(checkpoint.load_weights(tiny_run)[0])
    params.pop(duration_model.PARAMS_KEY)
    count = sum(leaf.size for leaf in jax.tree.leaves(params))
    assert f"{count:,} parameters; left out: the duration model" in summary
