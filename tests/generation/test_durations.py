"""The duration model of a run: when its network is used, and when the means are."""

import json
import shutil

import jax
import numpy as np
from flax.traverse_util import flatten_dict

from vssflow_jax.common import safetensors_io
from vssflow_jax.generation.conditioning import encode_request
from vssflow_jax.generation.durations import load_duration_model
from vssflow_jax.generation.generator import Generator
from vssflow_jax.generation.request import Request
from vssflow_jax.models import duration_model
from vssflow_jax.text import alignment, phonemes, subwords
from vssflow_jax.text.durations import DurationModel, predict_durations
from vssflow_jax.text.grid import phonemes_to_frames
from vssflow_jax.text.script import Utterance, align_script
from vssflow_jax.training import checkpoint

TEXT = "bin red by k two soon"


def random_voice(seed=0):
    return np.random.default_rng(seed).standard_normal(256).astype(np.float16)


def random_predictor():
    """A network with weights that depend on phonemes and voice."""
    network = duration_model.DurationNetwork(8)
    params = duration_model.init_params(network, jax.random.key(0))
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(0), len(leaves))
    leaves = [x + 0.3 * jax.random.normal(k, x.shape) for x, k in zip(leaves, keys, strict=True)]
    return duration_model.make_predictor(network, jax.tree.unflatten(tree, leaves))


def random_model():
    """A duration model whose means are half a second for every phoneme, with a network."""
    means = {symbol: 0.5 for symbol in phonemes.SYMBOLS}
    return DurationModel(means, network=random_predictor())


def lengths(intervals):
    return [end - start for start, end, _ in intervals]


def test_a_known_voice_uses_the_network_and_an_unknown_one_the_means():
    model = random_model()
    symbols, _ = alignment.text_to_symbols(TEXT, model)
    ids = phonemes.symbols_to_ids(symbols)
    known = predict_durations(symbols, model.with_voice(random_voice()))
    assert known == model.network(ids, random_voice()) != model.network(ids, random_voice(1))
    assert set(predict_durations(symbols, model)) == {0.5}
    without_means = DurationModel({}, network=model.network)
    assert predict_durations(symbols, without_means) == model.network(ids, None) != known


def test_predicted_durations_are_scaled_to_a_requested_interval():
    model = random_model().with_voice(random_voice())
    scaled, _ = alignment.align_text(TEXT, 0.7, 2.9, 4.0, model)
    assert scaled[0].start == 0.7 and scaled[-1].end == 2.9
    predicted = np.array(model.predict_by_network(alignment.text_to_symbols(TEXT, model)[0]))
    np.testing.assert_allclose(lengths(scaled), 2.2 * predicted / predicted.sum(), rtol=1e-6)
    natural, _ = alignment.align_text(TEXT, 0.7, None, None, model)
    np.testing.assert_allclose(lengths(natural), predicted, rtol=1e-6)


def test_each_line_of_a_script_is_timed_by_its_voice():
    lines = [Utterance(text=TEXT)] * 3
    voices = [random_voice(0), random_voice(1), None]
    timed = align_script(lines, None, random_model(), voices)
    first, second, third = np.split(np.array(lengths(timed.intervals)), 3)
    assert np.abs(first / second - 1).max() > 0.01
    np.testing.assert_allclose(third, 0.5)


def test_subwords_are_timed_by_the_network():
    texts = ["der hund schläft", "die katze wacht", "der hund wacht"]
    tokenizer = subwords.train_tokenizer(texts, 30)
    model = DurationModel({}, tokenizer, random_predictor()).with_voice(random_voice())
    times, _ = alignment.align_text("die katze schläft", 0.5, 2.0, 3.0, model)
    assert times[0].start == 0.5 and times[-1].end == 2.0
    assert len({round(x, 4) for x in lengths(times)}) > 2


def test_long_texts_are_padded():
    model = random_model().with_voice(random_voice())
    symbols = alignment.text_to_symbols(TEXT, model)[0] * 20
    predicted = model.predict_by_network(symbols)
    assert len(predicted) == len(symbols) > 2 * duration_model.LENGTH_MULTIPLE
    count = len(symbols) // 20
    np.testing.assert_allclose(
        predicted[count : 2 * count], predicted[-2 * count : -count], rtol=1e-5
    )


def test_generator_and_report_use_the_network_of_the_run(generator, tiny_run):
    model = generator.durations
    assert model.network is not None and len(model) > 20
    record = {"meta": {"id": "a", "text": TEXT, "duration": 4.0}, "speaker": random_voice()}
    expected = alignment.predict_alignment(record["meta"], model, random_voice())
    ids = generator.add_predicted_times(record)["phonemes"]
    np.testing.assert_array_equal(ids, phonemes_to_frames(expected, 100))
    np.testing.assert_array_equal(generator.remove_video(record)["phonemes"], ids)
    statistics = json.loads((tiny_run / "statistics.json").read_text())
    loaded = load_duration_model(tiny_run, statistics)
    assert alignment.predict_alignment(record["meta"], loaded, random_voice()) == expected
    request = Request.parse(text=TEXT, speech_start=1.0, speech_end=3.0)
    encoded = encode_request(request, model, generator.encoder_set, statistics)
    assert encoded.spans == [(1.0, 3.0)]


def test_weights_without_a_network_use_the_means(tiny_run, generator, tmp_path):
    out = tmp_path / "old"
    shutil.copytree(tiny_run / "codec", out / "codec")
    for name in ("config.json", "statistics.json"):
        shutil.copy(tiny_run / name, out)
    weights = {k: v for k, v in generator.params.items() if k != duration_model.PARAMS_KEY}
    safetensors_io.write_arrays(out / checkpoint.WEIGHTS_FILE, flatten_dict(weights, sep="/"))
    model = Generator.from_workdir(out).durations
    assert model.network is None and dict(model) == dict(generator.durations)
    assert load_duration_model(out, {"phoneme_durations": {"B": 0.1}}).network is None
    assert load_duration_model(tmp_path, {}) == {}
