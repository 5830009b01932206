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
from vssflow_jax.common.errors import InputError
from vssflow_jax.config import command_line
from vssflow_jax.text.normalize import POLICIES, REFUSE
from vssflow_jax.web.limits import MEGA, Limits
from vssflow_jax.web.memory import limit_arenas

LIMITS = ("megabytes", "seconds", "queue", "keep")  # flags
ENVIRONMENT = {  # keeps Gradio from asking other servers about its versions
    "GRADIO_ANALYTICS_ENABLED": "False",
    "GRADIO_ANALYTICS_CACHE_FREQUENCY": "1000000000",  # and from a table of all past requests
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}


def serve(folder: str) -> None:
    """Loads the model and serves the page until interrupted; its files are in `folder`."""
    limit_arenas()
    os.environ.update({**ENVIRONMENT, "GRADIO_TEMP_DIR": folder})
    try:
        from vssflow_jax.web import files, layout, server, studio
    except ImportError as error:
        raise InputError(
            f"found no {error.name}, expected the extra: pip install 'vssflow_jax[app]'"
        ) from None
    from vssflow_jax.generation.generator import Generator

    limits = Limits(**{name: flags.FLAGS[name].value for name in LIMITS})
    options = server.ServerOptions(
        host=flags.FLAGS.host,
        port=flags.FLAGS.port or None,
        root_path=server.parse_root_path(flags.FLAGS.root_path),
        max_bytes=round(limits.megabytes * MEGA),
    )
    generator = Generator.from_workdir(flags.FLAGS.workdir)
    page_studio = studio.Studio(generator, limits, flags.FLAGS.text_policy, flags.FLAGS.recognizer)
    visitor_files = files.VisitorFiles(Path(folder))
    blocks = layout.build_page(page_studio, visitor_files)
    try:
        with visitor_files.expire_files(limits.keep), server.serve(blocks, options) as address:
            print(f"page: {address}", flush=True)
            blocks.block_thread()
    finally:
        page_studio.close()


def define_flags() -> None:
    """The flags of the command."""
    command_line.define_path("workdir", bundled.DEFAULT, bundled.WORKDIR_HELP)
    flags.DEFINE_enum("text_policy", REFUSE, POLICIES, "For characters that cannot be read.")
    flags.DEFINE_string(
        "recognizer", None, "Ranks candidates: pocketsphinx (default) or whisper:MODEL."
    )
    flags.DEFINE_integer("port", 7860, "Port; 0: one that is free.", 0, 65535)
    flags.DEFINE_string("host", "127.0.0.1", "Address; 0.0.0.0 serves the network.")
    flags.DEFINE_string(
        "root_path", "", "Path or address under which a reverse proxy shows the page: /dub."
    )
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
