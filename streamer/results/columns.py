"""What a table is described by: its columns, and those of measured quantities."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

__all__ = ["Column", "Table", "repeating", "shrinking", "with_sigma", "with_sigmas"]


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table; its unit is empty where it has none."""

    name: str
    type: pa.DataType
    unit: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Table:
    """What a row of a table stands for, and its columns in their order."""

    row: str
    columns: tuple[Column, ...]

    def __getitem__(self, name: str) -> Column:
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(name)

    @property
    def schema(self) -> pa.Schema:
        """The same for Arrow."""
        return pa.schema([(column.name, column.type) for column in self.columns])

    def told(self, table: pa.Table) -> pa.Table:
        """Return a table with unit and meaning in the metadata of each field."""
        return table.cast(
            pa.schema(
                [
                    field.with_metadata(
                        {"unit": self[field.name].unit, "meaning": self[field.name].meaning}
                    )
                    for field in table.schema
                ]
            )
        )


def with_sigma(name: str, unit: str, meaning: str) -> tuple[Column, Column]:
    """Return the column of a measured quantity and that of its standard deviation."""
    sigma = f"standard deviation of {name}"
    return (
        Column(name, pa.float64(), unit, meaning),
        Column(f"{name}_sigma", pa.float64(), unit, sigma),
    )


def with_sigmas(*quantities: tuple[str, str, str]) -> tuple[Column, ...]:
    """Return the columns of quantities, and behind them all those of their standard deviations."""
    values, sigmas = zip(*(with_sigma(*one) for one in quantities), strict=True)
    return (*values, *sigmas)


def repeating(schema: pa.Schema) -> list[str]:
    """Return the columns that a dictionary makes smaller in a file.

    What was measured hardly repeats: to look for it took most of the time of writing, and made
    files larger.
    """
    return [field.name for field in schema if not pa.types.is_floating(field.type)]


def shrinking(table: pa.Table) -> dict[str, str]:
    """Return how each column of a part is compressed.

    What was measured comes out as large as it went in, but for what was not known, NaN throughout.
    """
    return {
        name: "NONE" if pa.types.is_floating(column.type) and _is_known(column) else "SNAPPY"
        for name, column in zip(table.column_names, table.columns, strict=True)
    }


def _is_known(column: pa.ChunkedArray) -> bool:
    """Tell from a few rows whether a column holds anything but NaN."""
    for chunk in column.chunks:
        values = chunk.to_numpy(zero_copy_only=False)
        if not np.isnan(values[:: max(1, len(values) // 4)]).all():
            return True
    return False
