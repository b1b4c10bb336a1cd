"""DNS64 (RFC 6147): the resolver's side of the translation prefix.

`wire` reads and writes messages; `synthesis` makes AAAA answers of A answers, `policy` says under which prefix; `local`
answers what no server need be asked; `cache`, `upstream` and `server` move messages; `resolver` is the way of a query.
"""
