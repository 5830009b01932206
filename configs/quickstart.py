"""Any English sentence, events and both, from nothing, in half an hour on a laptop.

    python -m vssflow_jax.train --config=configs/quickstart.py --workdir=runs/quickstart

Builds the corpus and its shards, trains a codec and the model, evaluates, writes the report. Videos
say GRID sentences, further clips of speech alone say open English, all in natural voices.

Measured on 2026-11-28, two cores and nothing else, from a fresh clone and environment: 20 minutes
21 seconds with the install, 36 minutes of processor time. Scores stand in the README.
"""

from vssflow_jax.config import load_recipe


def get_config():
    """The quickstart's run."""
    config = load_recipe("grid")
    config.data.corpus_clips = 1500
    config.data.corpus_audio_clips = 3200
    config.data.corpus_voices = "hibari:6"  # few, so that half an hour is enough
    config.data.corpus_audio_sentences = "open"
    config.data.corpus_encoders = "bundled"
    config.data.repeats.sound = 2
    config.data.mix.ratio = 0.25
    config.data.mix.mute_ratio = 0.2
    config.dropout.conditions.clip = 0.2  # voices are not learned from the pictures of faces
    config.codec.update(load_recipe("codec").codec)
    config.codec.kl_weight = 1e-2
    config.codec.train_steps = 400  # on the same shards, before the model
    config.precision.compute = "bfloat16"
    config.train.steps = 2700
    config.sample.steps = 8
    config.sample.joint = "apart"
    config.sample.sound_level = 3.0
    config.sample.speech_audibility = 0.55
    return config
