"""Rows read from Arrow's buffers against the rows themselves."""

import pickle

import datasets
import numpy as np
import pytest

from distill.data.columns import Columns

ROWS = {
    "ids": [[1, 2, 3], [], [4], [5, 6], [7], [8, 9, 10, 11], [12]],
    "start": [3, 1, 4, 1, 5, 9, 2],
    "is_cut": [True, False, False, True, True, False, True],
}


@pytest.fixture(params=[1, 3])
def table(request, tmp_path):
    """Seven rows on disk, in one chunk or in several."""
    parts = np.array_split(np.arange(7), request.param)
    tables = [
        datasets.Dataset.from_dict({name: [values[i] for i in part] for name, values in ROWS.items()}) for part in parts
    ]
    datasets.concatenate_datasets(tables).save_to_disk(str(tmp_path / "table"))
    return datasets.load_from_disk(str(tmp_path / "table"))


@pytest.mark.parametrize("indices", [[0, 1, 2, 3, 4, 5, 6], [6, 0, 3, 3], [1], []])
def test_rows_are_those_of_the_table_in_any_order(table, indices):
    for columns in (Columns(table), pickle.loads(pickle.dumps(Columns(table)))):
        rows = columns.rows(indices)
        assert list(rows) == list(ROWS)
        for name, values in ROWS.items():
            found = [row.tolist() for row in rows[name]]
            assert found == [values[i] for i in indices]


def test_lengths_and_missing_columns(table):
    columns = Columns(table)
    assert columns["ids"].lengths.tolist() == [3, 0, 1, 2, 1, 4, 1]
    assert "token_type_ids" not in columns.rows([0])
    with pytest.raises(KeyError):
        columns.rows([0])["token_type_ids"]


def test_no_row_is_read_that_is_a_slice_of_a_larger_table(table):
    part = datasets.Dataset(table.data.slice(2, 3))
    assert [row.tolist() for row in Columns(part).rows([0, 2])["ids"]] == [[4], [7]]
