"""One pass over the trajectory: sums of forces, observables of the atomistic data, the last frame."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import xarray as xr

from bayescg import _runtime
from bayescg.data.dataset import joined
from bayescg.inference import ForceStatistics, distributed_statistics, fit_pilot
from bayescg.inference.statistics.files import to_dataset
from bayescg.inference.statistics.streaming import running_statistics
from bayescg.workflow import folder
from bayescg.workflow.frames import Frames
from bayescg.workflow.reference import Reference
from bayescg.workflow.schema.choices import StepName
from bayescg.workflow.stamps import Product, Record, file_fingerprint, fingerprint
from bayescg.workflow.steps.step import Step
from bayescg.workflow.unfinished import Keeper, Passed, read_pass


@dataclass(frozen=True)
class Map(Step):
    """From atoms to sums over coarse-grained forces.

    Attributes:
        scheduler: of a Dask cluster whose workers make the sums, so that a pass here is left only for the observables;
            None: this process makes them.
    """

    scheduler: str | None = None

    name: ClassVar[StepName] = "map"

    @cached_property
    def _data(self) -> str:
        settings = self.config.settings
        files = [file_fingerprint(path) for path in self.config.inputs]
        return fingerprint(files, settings.input.model_dump(), settings.mapping.model_dump())

    @property
    def statistics(self) -> Product:
        """Sums of forces."""
        return self.product(folder.STATISTICS, fingerprint(self._data, self.config.potential.to_json()))

    @property
    def trajectory(self) -> Product:
        """All mapped frames, without forces: what a fit to structure needs instead of sums."""
        return self.product(folder.TRAJECTORY, fingerprint(self._data, "trajectory"))

    @property
    def fitted(self) -> Product:
        """What the potential is fitted to."""
        return self.trajectory if self.structural else self.statistics

    @property
    def structural(self) -> bool:
        """Whether the fit is to structure."""
        return self.config.settings.inference.fit != "force_matching"

    @property
    def last_frame(self) -> Product:
        """Where simulations start."""
        return self.product(folder.LAST_FRAME, self.fitted.stamp)

    @property
    def reference(self) -> Product:
        """Observables of the atomistic data; other bins do not touch the sums of forces."""
        asked = [
            {"kind": each.kind, "beads": each.beads, "options": list(each.arguments.items()), "blocks": each.blocks}
            for each in self.config.compared
        ]
        return self.product(folder.REFERENCE, fingerprint(self._data, self.config.potential.exclude_bonds, asked))

    @property
    def reads(self) -> tuple[Product, ...]:
        return ()

    @property
    def writes(self) -> tuple[Product, ...]:
        return self.fitted, self.last_frame, self.reference

    def act(self, wanted: tuple[Product, ...], record: Record) -> None:
        settings, potential = self.config.settings, self.config.potential
        frames = Frames(settings.input, settings.mapping, self.config.file.parent, forces=not self.structural)
        observables = self.config.compared if self.reference in wanted else ()
        reference = Reference(observables, frames.count, potential.exclude_bonds)
        last: xr.Dataset | None = None
        kept: list[xr.Dataset] = []
        sums: ForceStatistics | None = None
        keeper = Keeper(self.unfinished / "pass.nc", {product.path.name: product.stamp for product in wanted})
        # Frames themselves are read again: that is quick.
        resumable = self.scheduler is None and not self.structural
        begun = read_pass(keeper.path, keeper.stamps) if resumable else None
        done = 0
        if begun is not None:
            done, sums = begun.frames, begun.sums if self.statistics in wanted else None
            reference.restore(begun.observed, done)
            record.said[:] = [*begun.said, *(text for text in record.said if text not in begun.said)]

        def passing(advance: Callable[[float], None]) -> Iterator[xr.Dataset]:
            nonlocal last, done
            advance(done)
            for chunk in frames.after(done):
                reference.add(chunk)
                last = chunk.isel(frame=[-1])
                if self.trajectory in wanted:
                    kept.append(chunk)
                done += chunk.sizes["frame"]
                yield chunk
                # The sums of this chunk are there when the next one is asked for.
                if resumable and keeper.is_due and done < frames.count:
                    keeper.write(Passed(done, sums, reference.state(), record.said))
                advance(chunk.sizes["frame"])

        # Scores are summed whatever the calibration, so that another one needs no new pass.
        pilot = sums.pilot if sums is not None else fit_pilot(potential, frames) if self.statistics in wanted else None
        if self.scheduler is not None and self.statistics in wanted:
            sums = distributed_statistics(potential, frames.chunks(), client=self.scheduler, pilot=pilot)
            frames = frames if observables else frames.last()
        with _runtime.progress("One pass over the trajectory", frames.count) as advance:
            if self.statistics in wanted and self.scheduler is None:
                for total in running_statistics(potential, passing(advance), pilot=pilot, before=sums):
                    sums = total
            else:
                for _ in passing(advance):
                    pass
        if self.reference in wanted:
            self.reference.write(reference.tree(), record)
        if last is not None and self.last_frame in wanted:
            self.last_frame.write(last, record)
        if kept:
            self.trajectory.write(joined(kept).drop_vars("forces", errors="ignore"), record)
        if sums is not None:
            self.statistics.write(to_dataset(sums), record)
