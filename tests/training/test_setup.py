"""What a run is set up from: the fields that make its identity, and the folder that it holds."""

import json
import re
import subprocess
import sys

import pytest

from vssflow_jax import train
from vssflow_jax.common.errors import InputError
from vssflow_jax.config import load_recipe
from vssflow_jax.training import checkpoint, distributed, setup

FREE = {
    "data.shards": "elsewhere", "data.max_corrupt_fraction": 0.5, "model.remat": "layer",
    "model.tpu_kernels": False,
    "train.steps": 9, "train.log_every": 7, "train.grad_accumulation": 2, "mesh.data": 1,
    "sample.guidance": 2.0, "codec.folder": "elsewhere",
    "sample.grid": "sway", "precision.sampling": "auto",
}  # fmt: skip


FIXED = {
    "seed": 1, "data.tasks": ("sound",), "data.repeats.sound": 2, "data.workers": 2,
    "data.batch_size": 3,
    "data.duration": 3.0, "data.mix.ratio": 0.5, "data.mix.add_ratio": 0.1, "codec.kl_weight": 1.0,
    "model.layers": 9, "model.duration_width": 8, "flow.time_sampling": "logit_normal",
    "flow.mask_padding": False, "dropout.all": 0.5, "dropout.granularity": "batch",
    "dropout.frame_ratios": (0.5,), "dropout.conditions.clip": 0.5,
    "optim.name": "adamw", "optim.learning_rate": 1.0,
    "optim.schedule": "constant", "optim.warmup_steps": 7, "optim.max_grad_norm": None,
    "optim.ema_decay": 0.5, "precision.compute": "bfloat16", "train.task": "codec",
    "distill.steps": 9, "distill.max_scale": 9.0,
}  # fmt: skip


@pytest.mark.parametrize("name", FREE | FIXED)
def test_what_changes_the_course_of_a_run_is_part_of_its_identity(name):
    config = load_recipe("grid")
    before = setup.run_identity(config, "codec", "data")
    saved = json.loads(json.dumps(before))
    checkpoint.check_identity(saved, before, "checkpoint 3")
    config.update_from_flattened_dict({name: (FREE | FIXED)[name]})
    now = setup.run_identity(config, "codec", "data")
    if name in FREE:
        checkpoint.check_identity(saved, now, "checkpoint 3")
        return
    with pytest.raises(InputError, match=rf"^checkpoint 3: {name}: found .*, expected .*, with"):
        checkpoint.check_identity(saved, now, "checkpoint 3")


HOLDER = """
import sys
from vssflow_jax.common.locks import Locks
locks = Locks(sys.argv[1])
print(locks.take("train"), flush=True)
sys.stdin.read()
"""


def test_a_folder_that_a_training_holds_is_refused_until_that_process_dies(tmp_path):
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "run" / setup.LOCKS)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout.readline() == "True\n"
        words = f"--workdir={tmp_path / 'run'}: found a training that is running in this folder"
        with pytest.raises(InputError, match=re.escape(words)), setup.hold_folder(tmp_path / "run"):
            pass
        with setup.hold_folder(tmp_path / "other"):
            pass
        holder.kill()
        holder.wait()
        for _ in range(2):  # free after the death of its holder, and after its own end
            with setup.hold_folder(tmp_path / "run"):
                pass


def test_a_training_holds_its_folder(tmp_path, monkeypatch):
    """A second process cannot take the lock while the first one trains."""
    taken = []

    def train_meanwhile(config, workdir):
        command = [sys.executable, "-c", HOLDER, str(workdir / setup.LOCKS)]
        done = subprocess.run(command, input="", capture_output=True, text=True, check=True)
        taken.append(done.stdout)

    monkeypatch.setattr(train, "_train", train_meanwhile)
    config = load_recipe("grid")
    train.train(config, tmp_path)
    assert taken == ["False\n"]


def test_only_the_main_process_holds_the_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(distributed, "is_main_process", lambda: False)
    with setup.hold_folder(tmp_path):
        assert not list(tmp_path.iterdir())


def test_a_run_with_a_checkpoint_resumes_without_the_folder_that_it_started_from(tmp_path):
    config = load_recipe("grid")
    config.train.init_from = str(tmp_path / "gone")
    (tmp_path / "run" / "checkpoints" / "4.orbax-checkpoint-tmp").mkdir(parents=True)
    with pytest.raises(InputError, match=r"train\.init_from: found .*gone"):
        setup.check(config, tmp_path / "run")
    (tmp_path / "run" / "checkpoints" / "2").mkdir()
    setup.check(config, tmp_path / "run")


def test_fields_of_a_student_are_named_where_none_is_trained(tmp_path, monkeypatch, capsys):
    config = load_recipe("grid")
    config.distill.update(evaluations=[1, 2, 4, 8])  # as JSON has the default
    assert setup.list_idle_fields(config) == []
    config.distill.update(teacher="average", min_scale=0.5, evaluations=[2])
    monkeypatch.setattr(train, "_train", lambda *_: None)
    monkeypatch.setattr(setup, "check", lambda *_: None)
    train.train(config, tmp_path)
    (line,) = capsys.readouterr().out.splitlines()
    fields = "distill.teacher, distill.min_scale, distill.evaluations"
    assert line == f"note: {fields}: no effect where train.task is 'flow'"
    config.train.task = "distill"
    train.train(config, tmp_path)
    assert not capsys.readouterr().out
