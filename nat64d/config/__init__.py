"""The configuration: from a TOML file to checked models, and from those to the numbers the translator works with.

`load` reads and writes files. `models` is the list of sections and keys, of which `pool4` has one and `services` those
of balanced services; `values` and `addresses` have the types of their values, and `expected` words what pydantic
objects to. `checks` finds contradictions between keys, `owners` and `service_owners` addresses and ports that two of
them claim, `client_prefixes` what overlaps those of clients, `front6` what IPv6 clients take, `computed` whose the
blocks of ports of RFC 7422 are, `warnings` what is allowed but unwise. `problems` names the place of a mistake,
`syntax` that of what is not TOML, `toml` shows its value, and `errors` has the exceptions. `settings` makes
translator.Settings and Tables, of `words`, and of `fronts` where they are about services. `difference` says what a
reload changes, and what it cannot, `endpoint_changes` what is quickly known where only endpoints of services do;
`sources` puts together what is said beside the file. `defaults` finds files and is
all that client commands load.
"""
