"""The running daemon: `run` starts and stops everything, `first_start` lets packets pass before all code is
compiled, `state_file` keeps sessions over a restart (`state_header` is its first page, `large_pages` maps it),
`state` is what the control plane sees (`measure` and
`pool_use` read the tables for it, `counts` adds up its counters,
`watermarks` says what of them is nearly used up, `listings` lists them as `lines`
of JSON, with addresses for `handles`, `mappings` lists the configuration, `serving` finds services by their names),
`daemon_log` writes the log,
`drops` writes about dropped packets to the log, `shortages` tells the log of sessions what there was not enough of,
`link_drops` about those that the kernel dropped before the daemon saw them, `tasks` runs what goes on beside the
packets, `watchdog` tells systemd that the queues make progress, `clat_prefix` discovers the prefix of the provider's
NAT64 by what routers have `announced` (RFC 8781) or by asking `host_resolver` (RFC 7050). `signals` handles those
that stop it or make it read its configuration again, `servers` are the API and the name server, `reload` changes to
that configuration, `takeover` with the sessions that it allows; `flush` ends sessions on request, `endpoints` lets
flows follow what is known of the endpoints of services, `kept_sources` keeps what the API has set beside the file,
`descriptor_store` has systemd keep the TUN device and the fast path at it,
and `left` is what the process before has left, there and in a bpffs.
`service_changes` changes services in the tables there are. `neighbours` has them told of prefixes and services, and
`stop` is the way from a signal to the end. `computed_log` says what computed ports follow from.
"""
