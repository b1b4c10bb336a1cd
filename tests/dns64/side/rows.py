"""All rows, under their headings."""

from tests.dns64.side.row import Row
from tests.dns64.side.rows_answers import ALIASES, EXCLUDED, FIRST, TTLS
from tests.dns64.side.rows_queries import DNAMES, IPV4ONLY, QUERIES, REVERSE, TYPES
from tests.dns64.side.rows_transport import DNSSEC, HOSTILE, TRANSPORT

GROUPS: dict[str, tuple[Row, ...]] = {
    "Is there an AAAA record?": FIRST,
    "How long it holds": TTLS,
    "Addresses that are none": EXCLUDED,
    "Aliases": (*ALIASES, *DNAMES),
    "Signed answers": DNSSEC,
    "Large answers": TRANSPORT,
    "Broken and forged answers": HOSTILE,
    "Reverse names": REVERSE,
    "ipv4only.arpa": IPV4ONLY,
    "Other types and sections": TYPES,
    "The query itself": QUERIES,
}
ROWS = {row.id: row for rows in GROUPS.values() for row in rows}
