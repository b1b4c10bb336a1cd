"""The control plane: what an operator or a program can ask a running daemon.

`rows` defines what the daemon offers; `api`, with `unixsocket`, `openapi` and `metrics`, serves it over HTTP.
`connections` bounds what a client can take, `hosts` checks the name it asks for, `faults` logs what it did wrong, as
`throttle` allows. `client` and `output` are the commands' end: they import only the standard library, so that commands
start at once.
"""
