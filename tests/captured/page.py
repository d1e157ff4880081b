"""What was captured of each program, as the table in `docs/reference/capture.md`."""

from __future__ import annotations

from pathlib import Path

import attrs

from captured.libraries import PROGRAMS, Program, Thing
from captured.runs import Run, Version
from marked import part, with_part

__all__ = ["Row", "rows_in", "rows_of", "write"]

_HEAD = ("library and call", "name", "type", "versions", "aliases", "metadata")


@attrs.frozen
class Row:
    """A row: what one thing is captured as."""

    library: str
    call: str
    name: str
    type: str
    versions: int
    #: Every alias, and the version that it is on.
    aliases: dict[str, str]
    #: The keys of its newest version.
    metadata: list[str]

    def cells(self) -> tuple[str, ...]:
        """Return the cells of the table."""
        aliases = (f"`{alias}` on {version}" for alias, version in sorted(self.aliases.items()))
        keys = (f"`{key}`" for key in self.metadata)
        return (
            f"{self.library}: {self.call}",
            f"`{self.name}`",
            f"`{self.type.upper()}`",
            str(self.versions),
            ", ".join(aliases),
            ", ".join(keys),
        )


def rows_of(program: Program, run: Run) -> list[Row]:
    """Return a row for each thing of a program, as it was captured."""
    return [_row(program, thing, [one for one in run.versions if one.name == thing.name]) for thing in program.things]


def _row(program: Program, thing: Thing, versions: list[Version]) -> Row:
    aliases = {alias: one.version for one in versions for alias in one.aliases}
    newest = max(versions, key=lambda one: int(one.version[1:]))
    return Row(program.library, thing.call, thing.name, newest.type, len(versions), aliases, newest.metadata)


def write(rows: list[Row], page: Path) -> None:
    """Put the rows of a program into the table of a page; those of other programs stay."""
    cells = {one[0]: one for one in (*rows_in(page), *(row.cells() for row in rows))}
    calls = [f"{program.library}: {thing.call}" for program in PROGRAMS for thing in program.things]
    lines = [_HEAD, ("---",) * len(_HEAD), *(cells[call] for call in calls if call in cells)]
    table = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    page.write_text(with_part(page.read_text(), "captured", table))


def rows_in(page: Path) -> list[tuple[str, ...]]:
    """Return the cells of each row that a page has between its marks."""
    lines = part(page.read_text(), "captured").splitlines()[2:]
    return [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in lines]
