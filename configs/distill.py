r"""A student of a flow model: 1 to 8 evaluations in place of guided steps (docs/few_steps.md).

    python -m vssflow_jax.train --config=configs/distill.py:runs/miniav --workdir=runs/student

What follows the colon is the teacher: a run, a conversion, an export, or a bundled model by its
name; without it, `natural`. Data, codec and network are the teacher's.
With a student there, the second stage begins, in which its own average is the teacher:

    python -m vssflow_jax.train --config=configs/distill.py:runs/student --workdir=runs/second

`--config.distill.init_from=runs/student` begins with a student's weights and keeps the teacher.
"""

from vssflow_jax.training.checkpoint import read_config


def get_config(teacher: str = "natural"):
    """The run of a student of this teacher."""
    config = read_config(teacher)
    second = config.train.task == "distill"
    config.train.task = "distill"
    config.train.init_from = teacher
    config.distill.teacher = "average" if second else "guided"
    config.distill.grid = "sway"

    config.dropout.all = 0.0  # there is no branch without conditions
    config.codec.folder = ""  # the codec of train.init_from
    config.optim.learning_rate *= 0.25 if second else 0.5
    config.optim.warmup_steps = 100
    config.optim.schedule = "cosine"
    config.optim.ema_decay = 0.998

    config.train.steps = 2000
    config.train.log_every = 20
    config.train.checkpoint_every = 200
    config.train.validate_every = 200
    config.train.sample_every = 0

    config.sample.solver = "euler"
    config.sample.steps = 4
    config.sample.grid = config.distill.grid
    config.sample.update(guidance_start=0.0, guidance_stop=1.0, apg_eta=1.0, apg_momentum=0.0)
    return config
