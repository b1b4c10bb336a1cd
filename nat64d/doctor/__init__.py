"""`nat64d doctor`: what is wrong with this host, the daemon on it and what surrounds them, and the command that helps.

`checks` is the table: a row for each check, with what it needs to know and the function that judges it. `look` reads
what rows need, each thing once, and says what cannot be looked at; `readers` is the table of what can be read;
`finding` has what a row says. `command` prints.

Each room of a subject reads and judges: `daemon` (does it answer, how full it is), `conditions` (those of the host
watch), `privileges` (capabilities, open files, the unit of systemd), `kernel` (device node, IPv6, connection tracking,
clock), `links` (offloads, MTUs), `names` (does DNS64 agree with the prefix), `advertisements` (does PREF64).
"""
