"""Which sessions are not what they were when somebody last looked: a bit for each that was opened, was ended or passed
into another state. A time that is put off is no change: packets do that all the time, and it costs them nothing here.
"""

from translator.jit.compile import int64, jit
from translator.jit.lock import acquire, release


@jit()
def note_change(tables, session):
    """A session is not what it was."""
    tables.changed[session >> 6] |= int64(1) << int64(session & 63)


@jit()
def take_changes(tables, words):
    """Move the bits to `words`, int64[n] as Tables.changed; from now on there are new ones."""
    acquire(tables.lock)
    for at in range(len(words)):
        words[at] = tables.changed[at]
    tables.changed[:] = 0
    release(tables.lock)


@jit()
def copy_changed(tables, words):
    """Copy the bits to `words` and leave them."""
    acquire(tables.lock)
    for at in range(len(words)):
        words[at] = tables.changed[at]
    release(tables.lock)


@jit()
def list_numbers(words, numbers):
    """Write the numbers of the bits that are set to `numbers`, in their order; returns how many there are."""
    count = 0
    for at in range(len(words)):
        word = words[at]
        for bit in range(64 if word != 0 else 0):
            if word >> int64(bit) & 1 != 0:
                numbers[count] = at << 6 | bit
                count += 1
    return count


@jit()
def copy_rows(tables, rows, numbers, out):
    """Copy the records with these numbers to `out`, while the lock is held."""
    acquire(tables.lock)
    for k in range(len(numbers)):
        out[k] = rows[numbers[k]]
    release(tables.lock)
