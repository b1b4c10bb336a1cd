"""Where sessions that are taken over will be looked for, touched before they are."""

from translator.jit.compile import int64, rare
from translator.session.bib import bib_hash4, bib_hash6, host6_of, mapped4_of
from translator.session.hosts import host_hash
from translator.session.sessions import row_hash4, row_hash6

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
    sessions_mask, bibs_mask, hosts_mask = len(tables.sessions6) - 1, len(tables.bibs6) - 1, len(tables.hosts6) - 1
    for k in range(count):
        seen ^= tables.sessions6[ahead[k, 0] & sessions_mask] ^ tables.sessions4[ahead[k, 1] & sessions_mask]
        seen ^= tables.bibs6[ahead[k, 2] & bibs_mask] ^ tables.bibs4[ahead[k, 3] & bibs_mask]
        seen ^= tables.hosts6[ahead[k, 4] & hosts_mask]
    ahead[0, 0] = seen  # the compiler leaves out what nobody wants to know
