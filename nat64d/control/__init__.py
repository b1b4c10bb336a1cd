"""The control plane: what an operator or a program can ask a running daemon.

`gateway` says what the daemon must offer; `api`, with `unixsocket`, `openapi` and `metrics`, serves it.
`client` and `text` are the other end, used by the commands; they need the standard library only, to start at once.
"""
