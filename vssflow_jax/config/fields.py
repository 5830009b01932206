"""Every field of a run, once. A recipe starts from `default_config()` here and changes a few lines.

Values are those of the paper where it states them; the comment behind a field is its
meaning and unit.
"""

from ml_collections import ConfigDict


def default_config() -> ConfigDict:
    """The paper's joint model on shards that `data.shards` names."""
    config = ConfigDict()
    config.seed = 0

    config.data = ConfigDict()
    config.data.shards = ""  # folder of shards; empty: made from the corpus in WORKDIR/shards
    config.data.corpus = ""  # built-in corpus to make where data.shards is empty: "" or "miniav"
    config.data.corpus_clips = 0  # clips of the built-in corpus; 0: its default
    config.data.tasks = ()  # only clips of these tasks, of "sound", "speech", "joint"; (): of all
    config.data.duration = 10.0  # seconds of a training clip
    config.data.batch_size = 72  # clips a step, over all devices
    config.data.workers = 0  # processes that read and decode; 0: threads of this one
    config.data.max_corrupt = 0.01  # share of the training clips that may be unreadable

    config.data.mix = ConfigDict()
    config.data.mix.ratio = 0.0  # share of training clips made of a speech and a sound clip
    config.data.mix.add = 0.5  # share of those in which the speech is added, not put in place

    config.codec = ConfigDict()
    config.codec.folder = ""  # of a codec to take; empty: one is fitted on the shards, with:
    config.codec.channels = 128  # latent channels
    config.codec.whiten = 0.5  # 0 keeps the proportions of the latent's channels, 1 equals them
    config.codec.width = 128  # of the networks of a codec that is trained (configs/codec.py)
    config.codec.encoder_blocks = 2  # of its encoder, at 25 frames a second
    config.codec.decoder_blocks = 4  # of its decoder, at 100
    config.codec.crop = 0.64  # seconds of each clip that a step of its training sees
    config.codec.divergence = 1e-3  # weight of the latent's divergence from N(0, 1) in its loss
    config.codec.iterations = 32  # Griffin-Lim iterations of its decoding

    config.model = ConfigDict()
    config.model.route = "joint"  # a key of conditions.ROUTES
    config.model.layers = 10
    config.model.heads = 24
    config.model.kv_heads = 12  # key/value heads of the cross-attention
    config.model.head_width = 64
    config.model.feed_forward = 4  # hidden width of the SwiGLU over the model's width
    config.model.time_features = 256  # Fourier features of the time token
    config.model.rotate_keys = False  # positions for the cross-attention's keys
    config.model.null_phonemes = False  # dropped phonemes are a learned row instead of zeros
    config.model.sync_by_time = False  # Synchformer tokens lie at the frames that they saw
    config.model.durations = 0  # width of a network that learns how long phonemes last; 0: none
    config.model.remat = "dots"  # what the backward pass recomputes: "none", "layer", "dots"
    config.model.unroll = 1  # layers in one turn of the compiled loop
    config.model.projected = ConfigDict(  # projected widths; 0: the condition table's
        {"clip": 0, "speaker": 0, "phonemes": 0, "lips": 0, "sync": 0}
    )

    config.flow = ConfigDict()
    config.flow.time = "uniform"  # distribution of training times: "uniform" or "logit_normal"
    config.flow.mask_padding = False  # leave frames after a clip's end out of the loss

    config.dropout = ConfigDict()
    config.dropout.unit = "batch"  # one draw a "batch" (the official code) or a "sample"
    config.dropout.all = 0.1  # probability of dropping all conditions together
    config.dropout.video = 0.0  # of dropping clip, sync and lips together
    config.dropout.each = 0.0  # of dropping each condition by itself
    config.dropout.frame_ratios = ()  # shares of dropped lips and sync frames, one drawn a unit

    config.optim = ConfigDict()
    config.optim.kind = "adamw"  # or "muon"
    config.optim.learning_rate = 2 * 36 * 4e-7  # the paper's rule: clips a step * 4e-7
    config.optim.warmup = 2000  # steps of linear warm-up
    config.optim.schedule = "constant"  # after it: "constant" or "cosine" to 0 at the last step
    config.optim.b1 = 0.9
    config.optim.b2 = 0.999
    config.optim.weight_decay = 0.01
    config.optim.clip_norm = 1.0  # largest global gradient norm; 0: no clipping
    config.optim.ema = 0.999  # decay of the averaged weights that sampling uses; 0: no averages

    config.train = ConfigDict()
    config.train.task = "flow"  # what is trained: "flow" or "codec"
    config.train.start = ""  # folder of a run whose averaged weights and codec this one starts with
    config.train.steps = 250_000
    config.train.log_every = 100  # steps
    config.train.checkpoint_every = 2000  # steps
    config.train.keep = 3  # newest checkpoints to keep, beside that of the least valid_loss
    config.train.accumulate = 1  # pieces that a batch is worked off in, one after another
    config.train.max_skipped = 10  # steps in a row without a finite loss that stop the run
    config.train.validate_every = 2000  # steps; 0: no validation loss while training
    config.train.validate_clips = 256  # clips of the validation split
    config.train.compiled = ""  # folder of compiled programs; empty: WORKDIR/compiled
    config.train.sample_every = 10_000  # steps; 0: no samples while training
    config.train.evaluate_every = 0  # steps between scores of a few validation clips; 0: none
    config.train.evaluate = False  # evaluate on the test split and write the report at the end
    config.train.evaluate_clips = 64  # clips a task

    config.sample = ConfigDict()
    config.sample.solver = "euler"
    config.sample.steps = 25
    config.sample.guidance = 3.0  # common guidance scale
    config.sample.scales = ConfigDict(  # scales of single conditions; 0: the common one
        {"clip": 0.0, "speaker": 0.0, "phonemes": 0.0, "lips": 0.0, "sync": 0.0}
    )

    config.mesh = ConfigDict()
    config.mesh.data = -1  # devices that split the batch; -1: all that are left
    config.mesh.fsdp = 1  # devices that split the batch and the parameters
    config.mesh.tensor = 1  # devices that split heads and hidden widths

    config.precision = ConfigDict()
    config.precision.compute = "float32"  # of the network: "float32" or "bfloat16"
    config.precision.matmul = "default"  # jax_default_matmul_precision
    return config


def improved(config: ConfigDict) -> ConfigDict:
    """The `_plus` recipes: the official code's weaknesses mended, the rest left as it is."""
    config.dropout.unit = "sample"
    config.dropout.each = 0.05
    config.flow.mask_padding = True
    config.model.rotate_keys = True
    config.model.null_phonemes = True
    config.model.sync_by_time = True
    config.model.durations = 128
    return config
