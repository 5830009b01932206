"""Any English sentence in natural voices, the sound of events, and both in one clip.

    python -m vssflow_jax.train --config=configs/natural.py --workdir=runs/natural

The corpus has 6,000 videos of MiniAV and 8,000 clips of speech alone: open sentences in hibari's
voice and those of 120 speakers derived from it. The run trains its codec first.

The weights in vssflow_jax/bundled/natural are of 2026-11-27. On two cores that other work shared,
3.8 hours: 1,900 steps whose learning rate fell to 0, then 2,100 more with `train.steps` raised to
5200 and to 4000, both with `data.mix.ratio` 0.25 and no `dropout.conditions.clip`; then a run of
1,700 steps from those weights (`train.init_from`) with `optim.learning_rate` 0.004 and no muted
mixtures. From these, on an NVIDIA H200, in 131 seconds: 4,320 steps with `data.batch_size` 64 and
`optim.learning_rate` 0.004, over examples that were drawn once: 5,700 of the clips of speech, 1,700
of the videos and 3,100 mixtures, of which a quarter muted, with latents and pictures' features
rounded to 8 bits. The codec was trained for 400 steps, and its decoder for 1,600 more
(docs/codec.md). Scores stand on the model's card.
"""

from vssflow_jax.config import load_recipe


def get_config():
    """A network of 10 million parameters on natural speech and MiniAV's events."""
    config = load_recipe("grid")
    config.data.corpus_clips = 6000
    config.data.corpus_audio_clips = 8000
    config.data.corpus_voices = "hibari"
    config.data.corpus_sentences = "open"
    config.data.corpus_encoders = "bundled"
    config.data.duration = 5.0
    config.data.mix.ratio = 0.4
    config.data.mix.mute_ratio = 0.25  # a face without a text is silent
    config.codec.update(load_recipe("codec").codec)
    config.codec.kl_weight = 1e-2
    config.codec.train_steps = 600  # on the same shards, before the model
    config.model.heads = 6
    config.model.kv_heads = 3
    config.dropout.conditions.clip = 0.4  # voices are not learned from the pictures of faces
    config.precision.compute = "bfloat16"
    config.optim.ema_decay = 0.998
    config.train.steps = 4000
    config.train.checkpoint_every = 200
    config.train.evaluate = False
    config.sample.steps = 8
    config.sample.joint = "apart"
    config.sample.sound_level = 4.0  # at which its onsets are found beside speech
    config.sample.speech_audibility = 0.65  # rain would hide the words
    return config
