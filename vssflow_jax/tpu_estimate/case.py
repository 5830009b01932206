"""A config on a topology: compiled with any number of clips, and what would fit instead."""

from __future__ import annotations

import dataclasses

from vssflow_jax.tpu_estimate import fit, program, topology
from vssflow_jax.tpu_estimate.fit import as_flags
from vssflow_jax.tpu_estimate.program import OutOfMemory, Program, with_fields
from vssflow_jax.training import sharding
from vssflow_jax.training.chips import GIB, Chip


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """A training step and the devices that it is for.

    Attributes:
      config: the recipe; its batch is that of `clips`.
      topology: name of the devices.
      mesh: of the devices.
      chip: a device's share of its chip.
      clips: a device.
    """

    config: object
    topology: str
    mesh: object
    chip: Chip
    clips: int

    @classmethod
    def from_config(cls, config, name: str, clips: int = 0) -> Case:
        """The case of a recipe; `clips` a device instead of its own batch, if there are any.

        Raises:
          InputError: no such topology, or mesh and batch do not go on it.
        """
        devices, chip = topology.describe_devices(name)
        mesh = sharding.make_mesh(dict(config.mesh), devices)
        parts = mesh.shape["data"] * mesh.shape["fsdp"]
        if clips:
            config = with_fields(config, {"data.batch_size": clips * parts})
        sharding.check_config(config, mesh)
        clips = config.data.batch_size // parts
        return cls(config=config, topology=name, mesh=mesh, chip=chip, clips=clips)

    @property
    def batch(self) -> int:
        """Clips a step, over all devices."""
        return self.config.data.batch_size

    def compile(self, clips: int | None = None) -> Program:
        """The compiled step, with another number of clips a device if given.

        Raises:
          OutOfMemory: it does not fit.
        """
        batch = self.batch // self.clips * (self.clips if clips is None else clips)
        return program.compile_step(with_fields(self.config, {"data.batch_size": batch}), self.mesh)

    def search(self, start: fit.Search, compiles: int = fit.COMPILES) -> fit.Search:
        """The most clips a device that fit, from what is compiled already."""
        fixed = sum(program.count_fixed_bytes(self.config, self.mesh))
        limits = [error.limit for error in start.fails.values()]
        return fit.search_largest(
            start,
            self.compile,
            fixed=fixed,
            limit=limits[0] if limits else fit.USABLE * self.chip.memory,
            unit=program.clip_multiple(self.config),
            compiles=compiles,
        )

    def lighter(self) -> tuple[Case, str] | None:
        """The same clips with less memory, and the flags for it; None: nothing is left to do."""
        fields = fit.memory_saving_fields(self.config, self.mesh.size)
        if not fields:
            return None
        config = with_fields(self.config, fields)
        parts = self.mesh.shape["data"] * self.mesh.shape["fsdp"]
        mesh = sharding.make_mesh(dict(config.mesh), list(self.mesh.devices.flat))
        if mesh.shape["data"] * mesh.shape["fsdp"] != parts:
            return None
        return dataclasses.replace(self, config=config, mesh=mesh), as_flags(fields)


def suggest_config(case: Case, failure: OutOfMemory) -> str | None:
    """What fits instead of a case that does not, compiled to be sure; None: nothing tried does.

    The same clips with all that saves memory come first, then as few clips as it takes.
    """
    flags, search = "", fit.Search(fails={case.clips: failure})
    if lighter := case.lighter():
        case, flags = lighter
        search = fit.Search()
        search.add(case.clips, case.compile)
    if not search.largest:
        case.search(search, compiles=2)
    if not search.largest:
        return None
    batch = case.batch // case.clips * search.largest
    memory = search.fits[search.largest].memory / GIB
    flags += f" --config.data.batch_size={batch}"
    return f"{flags.strip()} ({search.largest} clips a device, {memory:.2f} GiB)"
