"""Where sessions that are taken over will be looked for, touched before they are."""

from translator.jit.compile import int64, jit, rare
from translator.session.bib import bib_hash4, bib_hash6, host6_of, mapped4_of
from translator.session.hosts import host_hash
from translator.session.sessions import row_hash4, row_hash6
from translator.tables.hashing import home_of

AHEAD = 64  # records


@rare()
def look_ahead(gateway, sessions, ahead):
    """Touch the places in the indexes where some sessions will be looked for. That a place is not in the processor's
    cache is most of what one costs; here the next ones are asked for while the first are on their way."""
    tables, count, seen = gateway.tables, 0, int64(0)
    for at in range(len(sessions)):
        row = sessions[at]
        if row.live != 0:
            host6, mapped4 = host6_of(row), mapped4_of(row)
            ahead[count, 0], ahead[count, 1] = row_hash6(gateway, row), row_hash4(gateway, row)
            ahead[count, 2] = bib_hash6(gateway, row.protocol, host6)
            ahead[count, 3] = bib_hash4(gateway, row.protocol, mapped4)
            ahead[count, 4] = host_hash(gateway, host6.hi, host6.lo)
            count += 1
    for k in range(count):
        seen ^= begin_of(tables.sessions6, ahead[k, 0]) ^ begin_of(tables.sessions4, ahead[k, 1])
        seen ^= begin_of(tables.bibs6, ahead[k, 2]) ^ begin_of(tables.bibs4, ahead[k, 3])
        seen ^= begin_of(tables.hosts6, ahead[k, 4])
    ahead[0, 0] = seen  # the compiler leaves out what nobody wants to know


@jit()
def begin_of(index, hashed):
    """The slot where the chain of a hash begins, as it is."""
    return index[home_of(index, hashed)]
