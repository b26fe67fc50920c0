from __future__ import annotations

import pyarrow as pa
import pytest

from streamer.results.schema import (
    CELL,
    FRAMES,
    LATTICE,
    PEAKS,
    REFLECTIONS,
    TABLES,
    THRESHOLDS,
    TRACKS,
    Column,
    Table,
)


def test_the_arrow_schema_of_a_table_follows_its_definition():
    table = Table("thing", (Column("a", pa.int32(), "", "first"), Column("b", pa.string(), "", "")))
    assert table.schema.equals(pa.schema([("a", pa.int32()), ("b", pa.string())]))
    assert table["a"].meaning == "first"
    with pytest.raises(KeyError, match="c"):
        table["c"]
    schemas = {"frames": FRAMES, "peaks": PEAKS, "tracks": TRACKS, "cell": CELL}
    schemas |= {"reflections": REFLECTIONS, "lattice": LATTICE, "thresholds": THRESHOLDS}
    assert schemas == {name: one.schema for name, one in TABLES.items()}


@pytest.mark.parametrize("name", TABLES)
def test_every_column_says_what_it_means_and_no_name_stands_twice(name):
    columns = TABLES[name].columns
    assert all(column.meaning for column in columns)
    assert len({column.name for column in columns}) == len(columns)


def test_a_standard_deviation_has_the_unit_of_what_it_belongs_to():
    sigmas = 0
    for table in TABLES.values():
        for column in table.columns:
            if column.name.endswith("_sigma"):
                assert column.unit == table[column.name.removesuffix("_sigma")].unit
                sigmas += 1
    assert sigmas > 10
