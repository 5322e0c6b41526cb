"""Results from readers: is an archive safe to open, consistent, and what it says it is?

An archive comes from a stranger (``doam train -f params/opixray.yaml --pack FOLDER``).
:func:`verify` opens it without trusting a byte and computes again whatever the archive holds enough
for. It cannot tell that the images were OPIXray's: only who has them can train a run again and
compare.
"""

from doamlib.claims.verify.archive import check_archive, verify
from doamlib.claims.verify.safe_zip import ArchiveError

__all__ = ["ArchiveError", "check_archive", "verify"]
