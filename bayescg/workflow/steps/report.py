"""The page about a run, and its figures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bayescg import report
from bayescg.report import Results
from bayescg.workflow import folder
from bayescg.workflow.schema.choices import StepName
from bayescg.workflow.stamps import Listing, Product, Record, fingerprint
from bayescg.workflow.steps.export import Export
from bayescg.workflow.steps.observe import Observe
from bayescg.workflow.steps.step import Step


@dataclass(frozen=True)
class Report(Step):
    """From all results to a page.

    Attributes:
        observe: the step that compares observables.
        export: the step that writes files for other programs.
    """

    observe: Observe
    export: Export

    name: ClassVar[StepName] = "report"

    @property
    def page(self) -> Product:
        """HTML."""
        # Which formats could be written is known when the step before is done.
        stamp = fingerprint(self.observe.stamp, self.export.index.stamp, self.export.index.groups)
        return self.product(folder.REPORT, stamp)

    @property
    def figures(self) -> Listing:
        """A list of the figures."""
        return Listing(self.config.output / folder.FIGURES_LIST, self.page.stamp, (folder.FIGURES,))

    @property
    def reads(self) -> tuple[Product, ...]:
        simulated = self.observe.simulate
        made = (self.observe.map.fitted, simulated.fit.posterior, simulated.ensemble)
        return *made, *self.observe.writes, *self.export.writes

    @property
    def writes(self) -> tuple[Product, ...]:
        return self.page, self.figures

    def act(self, wanted: tuple[Product, ...], record: Record) -> None:
        figures = self.config.output / folder.FIGURES
        written = report.write(self.results(), self.page.path, figures=figures, meta=self.page.attrs(record))
        self.figures.write_listing({folder.FIGURES: written[1:]}, record)

    def results(self) -> Results:
        """What the steps before have made, and nothing that an earlier configuration has left."""
        return folder.read_results(self.config.output, (product.path.name for product in self.reads))
