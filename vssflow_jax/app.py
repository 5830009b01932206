"""The web page: `python -m vssflow_jax.app --workdir=DIR [--port=7860]`.

DIR is a run's folder or the name of a bundled model; default: the shipped model. The page is served
to this computer only, unless --host says otherwise; it loads nothing from other servers.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from absl import flags

from vssflow_jax import bundled
from vssflow_jax.common import errors
from vssflow_jax.common.errors import InputError
from vssflow_jax.config import command_line
from vssflow_jax.text.normalize import POLICIES, REFUSE
from vssflow_jax.web.limits import MEGA, Limits

LIMITS = ("megabytes", "seconds", "queue", "keep")  # flags
ENVIRONMENT = {  # keeps Gradio from asking other servers about its versions
    "GRADIO_ANALYTICS_ENABLED": "False",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}


def serve(folder: str) -> None:
    """Loads the model and serves the page until interrupted; its files are in `folder`."""
    os.environ.update({**ENVIRONMENT, "GRADIO_TEMP_DIR": folder})
    try:
        from vssflow_jax.reports.html import render
        from vssflow_jax.web import files, layout, studio
    except ImportError as error:
        raise InputError(
            f"found no {error.name}, expected the extra: pip install 'vssflow_jax[app]'"
        ) from None
    from vssflow_jax.generation.generator import Generator

    limits = Limits(**{name: flags.FLAGS[name].value for name in LIMITS})
    generator = Generator.from_workdir(flags.FLAGS.workdir)
    visitor_files = files.VisitorFiles(Path(folder))
    blocks = layout.build_page(
        studio.Studio(generator, limits, flags.FLAGS.text_policy, flags.FLAGS.recognizer),
        visitor_files,
    )
    try:
        _, address, _ = blocks.launch(
            server_name=flags.FLAGS.host,
            server_port=flags.FLAGS.port or None,
            share=False,
            inbrowser=False,
            quiet=True,
            prevent_thread_lock=True,
            max_file_size=round(limits.megabytes * MEGA),
            theme=layout.make_theme(),
            css=render("app.css"),
            ssr_mode=False,
            strict_cors=True,
        )
    except OSError as error:
        raise InputError(f"--port={flags.FLAGS.port}: {errors.one_line(error)}") from None
    try:  # an interrupt from here on must close the server, whose thread would go on
        print(f"page: {address}", flush=True)
        blocks.block_thread()
    finally:
        blocks.close(verbose=False)


def define_flags() -> None:
    """The flags of the command."""
    command_line.define_path("workdir", bundled.DEFAULT, bundled.WORKDIR_HELP)
    flags.DEFINE_enum("text_policy", REFUSE, POLICIES, "For characters that cannot be read.")
    flags.DEFINE_string(
        "recognizer", None, "Ranks candidates: pocketsphinx (default) or whisper:MODEL."
    )
    flags.DEFINE_integer("port", 7860, "Port; 0: one that is free.", 0, 65535)
    flags.DEFINE_string("host", "127.0.0.1", "Address; 0.0.0.0 serves the network.")
    flags.DEFINE_float("megabytes", Limits.megabytes, "Largest upload.", 0)
    flags.DEFINE_float("seconds", Limits.seconds, "Longest video.", 0)
    flags.DEFINE_integer("queue", Limits.queue, "Requests that may wait.", 1)
    flags.DEFINE_integer("keep", Limits.keep, "Longest time that files are kept, seconds.", 1)


def main() -> None:
    """Serves the page that the flags ask for."""
    with tempfile.TemporaryDirectory(prefix="vssflow-app-") as folder:
        serve(folder)


if __name__ == "__main__":
    command_line.run(main, define_flags)
