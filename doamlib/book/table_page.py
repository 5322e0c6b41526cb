"""One page that answers one table of the paper: its runs, its pairs and its claims in one object.

Attention mechanisms, occlusion levels, detectors, sampling strategies and the ablation ask
different questions of the same kind of evidence. What they share is here, so that a page's cells
hold its own question.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property

import pandas as pd
from matplotlib.figure import Figure

from doamlib.book import figures, pages, samples
from doamlib.book.quoting import colophon, quote_findings
from doamlib.claims import comparison
from doamlib.claims.claims import Outcome
from doamlib.claims.rules import DOAM_T
from doamlib.experiments.arms import TABLES
from doamlib.experiments.parameters import Parameters
from doamlib.experiments.results import Result, Runs, of_arms
from doamlib.experiments.study import Study

Pairs = Sequence[tuple[str, str]]
"""(arm, base): what is subtracted from what."""


class TablePage:
    """A table of the paper, beside it the stored reference results and this run.

    Args:
        parameters: the page's.
        table: IV, V, VI, VII or IX; its rows are trained as far as the parameters name them.
        pairs: the differences that the page asks about.
        claims: numbers of the claims that rest on the table.
        more: arms that are trained beside the table's rows.
        if_trained: arms that are shown where somebody has trained them.

    Attributes:
        results: this run's, after :meth:`run`.
        reference: the stored ones, after :meth:`run`; among them the reading of DOAM by which
            claims are judged, where that is not the table's own.
        judged: the page's claims, after :meth:`verdicts`.
    """

    def __init__(
        self,
        parameters: Parameters,
        table: str,
        pairs: Pairs,
        claims: Iterable[int],
        *,
        more: Iterable[str] = (),
        if_trained: Iterable[str] = (),
    ) -> None:
        self.parameters, self.table = parameters, table
        self.pairs, self.claims = list(pairs), tuple(claims)
        self.trained = [*TABLES[table].values(), *more]
        self.arms = [*self.trained, *if_trained]
        self.study = Study(parameters)
        self.results: Runs = {}
        self.reference: Runs = {}
        self.judged: dict[int, Outcome] = {}

    @cached_property
    def printed(self) -> pd.DataFrame:
        """The table as the paper prints it; see :func:`doamlib.claims.comparison.printed`."""
        return comparison.printed(self.table)

    def run(self) -> None:
        """Train what is missing and open the stored results; says what exists and what it takes."""
        results = self.study.train(self.study.announce(self.trained))
        beyond = [arm for arm in self.arms if arm not in self.trained]
        found = self.study.found(beyond)
        for arm in beyond:
            known = "is shown" if of_arms(found, [arm]) else "has not been trained"
            print(f"{arm}: {known} in this run")
        self.results = results | found
        readings = pages.other_readings(self.claims)
        _, self.reference = pages.stored_runs([*self.arms, *readings])
        more = [(own, base) for own in readings for arm, base in self.pairs if arm == DOAM_T]
        self.pairs = list(dict.fromkeys([*self.pairs, *more]))

    @property
    def label(self) -> str:
        """One line that says what this run is."""
        return pages.label(self.parameters, self.results)

    @property
    def layers(self) -> dict[str, Runs]:
        """Title -> runs of each layer; they never share a column, a bar or a line.

        Of the page's own arms: another reading of the module stands in tables, not in figures.
        """
        return self._layers(of_arms(self.reference, self.arms))

    def _layers(self, reference: Runs) -> dict[str, Runs]:
        return {"stored reference": reference, "this run": self.results}

    @property
    def sources(self) -> list[Result]:
        """Every stored result that the page shows."""
        return [*self.reference.values(), *self.results.values()]

    def of(self, arms: Iterable[str]) -> dict[str, Runs]:
        """The layers with these arms only, in the order given."""
        arms = list(arms)
        return {title: of_arms(runs, arms) for title, runs in self.layers.items()}

    def beside_paper(self, name: str = "mAP") -> pd.DataFrame:
        """Three columns: paper, stored reference, this run."""
        return comparison.beside_paper(self.results, self.reference, self.table, name)

    def measured(self, columns: Iterable[str] | None = None) -> None:
        """Display mean and standard deviation over seeds, a table a layer.

        Args:
            columns: of :func:`doamlib.claims.comparison.measured`; by default mAP and all classes,
                below which it says what abbreviations stand for that are not the paper's.
        """
        columns = None if columns is None else list(columns)
        pages.show(
            {
                title: comparison.measured(runs, columns)
                for title, runs in self._layers(self.reference).items()
            }
        )
        if columns is None:
            pages.explain_classes(self.results)

    def differences(self, pairs: Pairs | None = None, name: str = "mAP") -> dict[str, pd.DataFrame]:
        """Paired differences by layer; the page's own pairs by default."""
        asked = self.pairs if pairs is None else pairs
        return {
            title: comparison.differences(runs, asked, self.table, name)
            for title, runs in self._layers(self.reference).items()
        }

    def forest(self, pairs: Pairs | None = None, name: str = "mAP") -> Figure:
        """The same drawn: a point and a 95 percent interval a pair."""
        return figures.forest(self.differences(pairs, name))

    def per_class(self, arms: Sequence[str] = ()) -> Figure:
        """AP of each class, the paper's and the layers'."""
        return figures.per_class(self.table, self.layers, arms)

    def samples(self, arms: Iterable[str] | None = None) -> None:
        """Draw what the first seed of this run found: right, wrong and missed."""
        shown = self.results if arms is None else of_arms(self.results, arms)
        first = {run: r for run, r in shown.items() if run[1] == self.parameters.seeds[0]}
        samples.sample_detections(self.study.data.test, first)

    def cost(self) -> None:
        """Display time and compute of each arm."""
        pages.show({title: comparison.cost(runs) for title, runs in self.layers.items()}, digits=1)

    def verdicts(self) -> None:
        """Display the scoreboard's rows of the page's claims; quote what was found at its top."""
        self.judged = pages.show_verdicts(*self.claims)
        quote_findings(self.judged)

    def colophon(self) -> None:
        """Close the page: where its numbers come from, and what it cost."""
        colophon(self.parameters, self.sources, self.judged)
