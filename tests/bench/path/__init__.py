"""A benchmark of the whole way of a packet, after RFC 8219 and RFC 9693; `python -m tests.bench.path --help`."""
