"""What the notebooks need beside the library, and the build that executes and renders them.

``quoting.py`` puts stored numbers into sentences, ``table_page.py``, ``pages.py`` and
``figures.py`` hold what several pages show alike, ``plots.py`` the house style, ``seal.py`` guards
committed numbers, ``exercises.py`` checks answers, ``build.py`` makes the pages (``make book``).
"""

from doamlib.core.lazy import lazily

__getattr__, __all__ = lazily(
    __name__,
    quoting=("quote", "quote_findings", "colophon"),
    known=("quoted",),
    table_page=("TablePage",),
    build=("BuildError",),
)
