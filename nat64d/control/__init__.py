"""The control plane: what an operator or a program can ask a running daemon.

`rows` defines what the daemon offers, `changes` what clients can change, `writes` has the requests that do; `api`,
with `unixsocket`, `openapi` and `metrics`, serves it over HTTP. `listings` has all listings with their `filters`, and
`streaming` sends them. Every metric has a row in `families`; what only metrics show is in the shapes of `measured`.
`page` is the page for browsers, `history` what it draws, `keys` what handlers find in their application, `shared`
makes one answer for many clients. `connections` bounds what a client can take, `hosts` checks the name it asks for,
`faults` logs what it did wrong, as `throttle` allows. `exposition` loads
`metrics` with the first scrape. `logs` writes the log, `events` keeps what has happened for
`event_stream`. `client` and `output` are the commands' end: they import only the standard library, so that commands
start at once.
"""
