"""The launch scripts, run as they are, with stand-ins for the commands that they start."""

import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from helpers.paths import ROOT

LAUNCH = ROOT / "launch"
SCRIPTS = sorted(LAUNCH.glob("*.sh"))
TPU = {"NAME": "mine", "ZONE": "us-west4-a", "TYPE": "v5litepod-64"}
GKE = {"NAME": "mine", "IMAGE": "image:1", "TYPE": "tpu-v5-lite-podslice", "TOPOLOGY": "4x4"} | {
    "HOSTS": "4", "CHIPS": "4", "CLAIM": "runs"
}  # fmt: skip
ENVIRONMENTS = {"ssh": {"HOSTS": "me@a b"}, "tpu_vm": TPU, "gke": GKE}
ARGUMENTS = ("--config=configs/joint.py", "--workdir=/a b/it's")


def launch(name, *arguments, **environment):
    return subprocess.run(
        ["bash", str(LAUNCH / f"{name}.sh"), *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
        timeout=300,
    )


def stand_in(folder, name, body):
    """A command that does `body`, found before the real one; the environment to find it in."""
    folder.mkdir(exist_ok=True)
    script = folder / name
    script.write_text(f"#!/bin/bash\n{body}\n")
    script.chmod(0o755)
    return {"PATH": f"{folder}:{os.environ['PATH']}", "RESTARTS": "2"}


def test_shellcheck_finds_nothing():
    command = [str(Path(sys.executable).parent / "shellcheck"), *map(str, SCRIPTS)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_dry_run_shows_the_arguments_whole(script):
    done = launch(script.stem, "--dry-run", *ARGUMENTS, **ENVIRONMENTS.get(script.stem, {}))
    assert done.returncode == 0, done.stderr
    if script.stem == "gke":
        assert ARGUMENTS[1].replace("'", "''") in done.stdout
        return
    # Quoted for this shell, and for a remote one within it.
    words = shlex.split(done.stdout)
    nested = [part for word in words for part in shlex.split(word)] if script.stem in ENVIRONMENTS \
        else words  # fmt: skip
    assert set(ARGUMENTS) <= set(nested)
    assert "vssflow_jax.train" in nested or "launch/local.sh" in nested


@pytest.mark.parametrize("name", sorted(ENVIRONMENTS))
def test_what_is_missing_is_named(name):
    for missing in ENVIRONMENTS[name]:
        done = launch(name, "--dry-run", **{**ENVIRONMENTS[name], missing: ""})
        assert done.returncode != 0
        assert f"error: {missing} is empty" in done.stderr


@pytest.mark.parametrize(("status", "calls"), [(0, 1), (2, 1), (1, 3)])
@pytest.mark.parametrize(("name", "command"), [("local", "python"), ("ssh", "ssh")])
def test_crashes_are_tried_again_and_mistakes_are_not(tmp_path, name, command, status, calls):
    environment = stand_in(tmp_path, command, f"echo x >> {tmp_path}/calls; exit {status}")
    assert launch(name, **environment, HOSTS="a").returncode == status
    assert len((tmp_path / "calls").read_text().split()) == calls


@pytest.mark.parametrize(("name", "command"), [("local", "python"), ("ssh", "ssh")])
def test_preemptions_are_tried_again_without_end(tmp_path, name, command):
    body = f"echo x >> {tmp_path}/calls; (( $(wc -l < {tmp_path}/calls) > 6 )) || exit 75"
    assert launch(name, **stand_in(tmp_path, command, body), HOSTS="a").returncode == 0
    assert len((tmp_path / "calls").read_text().split()) == 7


WAITING = """\
trap 'sleep 0.3; echo saved > {0}/saved; exit 75' TERM
touch {0}/up
while true; do sleep 0.1; done
"""


def test_local_hands_a_sigterm_on_and_waits(tmp_path):
    environment = stand_in(tmp_path, "python", WAITING.format(tmp_path))
    process = subprocess.Popen(
        ["bash", str(LAUNCH / "local.sh")],
        env={**os.environ, **environment},
        stderr=subprocess.DEVNULL,
    )
    while not (tmp_path / "up").exists():
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=120) == 75
    assert (tmp_path / "saved").exists()


# Before a command of the script, once: waits for a file if there is to be one, and sends SIGTERM.
SIGNAL_BEFORE = """\
line={1}
send() {{
  if [[ $BASH_COMMAND == "$line" && ! -e {0}/sent ]]; then
    touch {0}/sent
    until [[ -e {0}/{2} ]]; do sleep 0.05; done
    kill -TERM $$
  fi
}}
set -o functrace
trap send DEBUG
"""


@pytest.mark.parametrize(
    ("name", "command", "line", "is_up"),
    [
        ("local", "python", "status=0", False),
        ("local", "python", "child=$!", True),
        ("local", "python", "[[ $stopping == 0 ]]", True),
        ("local", "python", 'kill -0 "$child" 2> /dev/null', True),
        ("local", "python", 'wait "$child"', True),
        ("ssh", "ssh", "status=0", False),
        ("ssh", "ssh", "children+=($!)", True),
        ("ssh", "ssh", "[[ $stopping == 0 ]]", True),
        ("ssh", "ssh", "wait -n", True),
    ],
)
def test_a_sigterm_between_any_two_lines_ends_all(tmp_path, name, command, line, is_up):
    environment = stand_in(tmp_path, command, WAITING.format(tmp_path))
    before = tmp_path / "before.sh"
    awaited = "up" if is_up else "sent"
    before.write_text(SIGNAL_BEFORE.format(tmp_path, shlex.quote(line), awaited))
    done = launch(name, **environment, HOSTS="a", BASH_ENV=str(before))
    assert (tmp_path / "sent").exists()
    # 143: it was told before it could take the signal, or `wait` was.
    assert done.returncode in (75, 143)
    assert (tmp_path / "saved").exists() or not is_up


def test_ssh_gives_each_host_its_number_and_ends_all_with_one(tmp_path):
    waits = f"until grep -q me@a {tmp_path}/hosts; do sleep 0.05; done"
    body = f'echo "$2" >> {tmp_path}/hosts; [[ $2 == me@a ]] || {{ {waits}; exit 2; }}'
    body += "; exec sleep 600"
    done = launch("ssh", **stand_in(tmp_path, "ssh", body), HOSTS="me@a b")
    assert done.returncode == 2
    assert sorted((tmp_path / "hosts").read_text().split()) == ["b", "me@a"]
    lines = launch("ssh", "--dry-run", HOSTS="me@a b", PORT="99").stdout.splitlines()
    for number, line in enumerate(lines):
        command = shlex.split(shlex.split(line)[-1])
        assert "--coordinator_address=a:99" in command
        assert {"--num_processes=2", f"--process_id={number}"} <= set(command)


def test_slurm_queues_a_preempted_job_again(tmp_path):
    stand_in(tmp_path, "scontrol", f'echo "$@" > {tmp_path}/queued')
    done = launch("slurm", **stand_in(tmp_path, "srun", "exit 75"), SLURM_JOB_ID="7")
    assert done.returncode == 75
    assert (tmp_path / "queued").read_text() == "requeue 7\n"


def test_gke_writes_a_jobset():
    done = launch("gke", "--dry-run", *ARGUMENTS, **GKE)
    manifest = yaml.safe_load(done.stdout)
    job = manifest["spec"]["replicatedJobs"][0]["template"]["spec"]
    assert (job["parallelism"], job["completions"]) == (4, 4)
    container = job["template"]["spec"]["containers"][0]
    assert container["args"] == list(ARGUMENTS)
    assert container["resources"]["limits"] == {"google.com/tpu": 4}
    by_status = {
        rule["onExitCodes"]["values"][0]: rule["action"]
        for rule in job["podFailurePolicy"]["rules"]
        if "onExitCodes" in rule
    }
    assert by_status == {2: "FailJob", 75: "Ignore"}


def test_tpu_vm_asks_waits_and_trains(tmp_path):
    """A stand-in for gcloud, whose slice is there at the second look."""
    log = tmp_path / "log"
    body = f"""echo "$@" >> {log}
[[ "$*" != *describe* ]] || (( $(grep -c describe {log}) < 2 )) || echo ACTIVE"""
    done = launch("tpu_vm", *ARGUMENTS, **stand_in(tmp_path, "gcloud", body), **TPU)
    assert done.returncode == 0, done.stderr
    called = log.read_text()
    assert called.index("queued-resources create") < called.index("scp") < called.index("local.sh")
    assert "pip install" in called and "-c vssflow_jax/launch/constraints.txt" in called
