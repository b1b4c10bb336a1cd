"""Records and arrays of them: a field is an attribute, and there are no others."""

import pickle

import numpy as np
import pytest

from translator.tables.layout import USE, WAITING_PORT, records


def test_a_field_is_an_attribute_of_a_record_and_of_an_array_of_them():
    rows = records(3, WAITING_PORT)
    for value in (7, 8):  # found the first time, and known the second
        rows[1].port = value
        assert (rows[1].port, rows.port.tolist(), rows["port"].tolist()) == (value, [0, value, 0], [0, value, 0])
    assert type(rows.port) is np.ndarray
    rows[:2].until[:] = 5
    assert rows.until.tolist() == [5, 5, 0]


def test_what_is_no_field_is_no_attribute():
    rows = records(1, WAITING_PORT)
    assert records(1, USE)[0].ports == 0  # one that others have
    for each in (rows, rows[0], rows.port):
        assert not hasattr(each, "ports")
    with pytest.raises(ValueError, match="ports"):
        rows[0].ports = 1
    with pytest.raises(AttributeError, match="ports"):
        _ = rows.view(np.uint8).reshape(-1).ports


def test_copies_and_what_another_process_is_sent_are_records_too():
    rows = records(2, WAITING_PORT)
    rows[1].port = 9
    for each in (rows.copy(), rows[::-1][::-1], pickle.loads(pickle.dumps(rows))):
        assert (type(each), each[1].port, each[1].copy().port, each.port.tolist()) == (type(rows), 9, 9, [0, 9])
