"""The page about several potentials."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bayescg.report import Results, write
from bayescg.workflow import folder
from bayescg.workflow.schema.choices import StepName
from bayescg.workflow.stamps import Listing, Product, Record, fingerprint
from bayescg.workflow.steps.report import Report
from bayescg.workflow.steps.step import Step


@dataclass(frozen=True)
class SideBySide(Step):
    """From the results of each potential to a page with all of them.

    Attributes:
        reports: the last step of each.
    """

    reports: tuple[Report, ...]

    name: ClassVar[StepName] = "report"

    @property
    def page(self) -> Product:
        """HTML."""
        return self.product(
            folder.REPORT, fingerprint([(each.config.output.name, each.page.stamp) for each in self.reports])
        )

    @property
    def figures(self) -> Listing:
        """A list of the figures."""
        return Listing(self.config.output / folder.FIGURES_LIST, self.page.stamp, (folder.FIGURES,))

    @property
    def reads(self) -> tuple[Product, ...]:
        return tuple(product for each in self.reports for product in each.reads)

    @property
    def writes(self) -> tuple[Product, ...]:
        return self.page, self.figures

    def act(self, wanted: tuple[Product, ...], record: Record) -> None:
        each = {report.config.output.name: report.results() for report in self.reports}
        results = Results(config=self.config.text, each=each)
        figures = self.config.output / folder.FIGURES
        written = write(results, self.page.path, figures=figures, meta=self.page.attrs(record))
        self.figures.write_listing({folder.FIGURES: written[1:]}, record)
