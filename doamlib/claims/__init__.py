"""The paper's thirteen claims and what may be said about them.

``claims.py`` lists them and ``rules.py`` says which differences decide each; ``verdict.py`` is the
rule that judges differences, ``admission.py`` says which results may, ``comparison.py`` puts arms
side by side. ``scoreboard.py`` and ``findings.py`` turn verdicts into a table and into sentences;
``verify`` checks archives that readers contribute.
"""

from doamlib.core.lazy import lazily

__getattr__, __all__ = lazily(
    __name__,
    claims=("CLAIMS", "outcomes", "Outcome"),
    verdict=("Verdict", "judge", "judge_all"),
)
