"""State and configuration as arrays: `layout` (record types), `records` (arrays of them), `settings`, `tables`,
`gateway` (both of them and the worker under one name), `hashing` (keyed hash, indexes), `bitmaps` (sets of
numbers), `slots` (free records), `wheel` (timeouts), `ranges` (of IPv4 addresses), `listing` (copies for the
control plane), `handles` (numbers that stand for IPv6 addresses), `changes` (which sessions are not what they
were).
"""
