"""Options of the verbs that read photos of one's own: the form in which folders and tables name classes."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from carsfg.commands.options import option
from carsfg.errors import InputError, suggestion

if TYPE_CHECKING:
    from carsfg.data.sources.table import Columns


@dataclass(frozen=True, kw_only=True)
class PhotoForm:
    """How class folders and tables are read, as by `PhotoDataModule`.

    Attributes:
        class_level: which folder names the class.
        images: folder that the paths of a table are relative to.
        columns: names of a table's columns.
    """

    class_level: int | None = option(
        "which folder names the class: 1 for the first one, which is the default; for a checkpoint, that of its run",
        None,
    )
    images: str | None = option("folder that the paths of a table are relative to; by default that of the table", None)
    columns: Mapping[str, str] | None = option("names of a table's columns: {label: model}", None)

    def table_columns(self) -> "Columns":
        """Return the names of a table's columns.

        Raises:
            InputError: a key is not a known column.
        """
        from carsfg.data.sources.table import Columns

        try:
            return Columns(**(self.columns or {}))
        except TypeError:
            known = [one.name for one in fields(Columns)]
            unknown = next(one for one in self.columns or {} if one not in known)
            raise InputError(
                f"data.columns has no key {unknown!r}{suggestion(unknown, known)}: use {', '.join(known)}"
            ) from None
