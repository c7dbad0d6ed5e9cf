"""What a check found."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace

# By severity: training fails or means nothing; probably not what is wanted; good to know.
ERROR, WARNING, NOTE = "error", "warning", "note"
LEVELS = (ERROR, WARNING, NOTE)


@dataclass(frozen=True)
class Finding:
    """One finding.

    Attributes:
        level: one of :data:`LEVELS`.
        check: the name of the check, by which it can be accepted.
        place: the file, layer or record.
        found: what was found and what was expected.
        fix: what to do about it; empty for a note.
    """

    level: str
    check: str
    place: str
    found: str
    fix: str = ""

    def __str__(self) -> str:
        fix = f" Fix: {self.fix}" if self.fix else ""
        return f"{self.level}: {self.place}: {self.found}{fix} [{self.check}]"


def sort(findings: Iterable[Finding], accepted: Collection[str]) -> list[Finding]:
    """The findings, gravest first; errors of ``accepted`` checks become warnings."""
    judged = [
        replace(one, level=WARNING) if one.level == ERROR and one.check in accepted else one
        for one in findings
    ]
    return sorted(judged, key=lambda one: LEVELS.index(one.level))
