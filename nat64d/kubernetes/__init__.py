"""Kubernetes: what a cluster says, in the daemon beside it. Not a part of `nat64d run`; takes the extra `kubernetes`.

`command` is `nat64d kubernetes`. A `listwatch` follows a kind of `objects`, of the API server that `cluster` knows;
`slices` has the EndpointSlices by Service. A gateway: the `mirror` makes `rows` of [[service]] of them, of [[eam]] of
`mappings` and of [[pool4]] of `translators`, and lets `telling` bring the `daemon` to them. A `controller`: what
Services ask for (`wishes`) gets `addresses` of pools, and with what is behind them (`endpoints`) becomes `statuses` and
`events`, by requests of `writing`. `leases` say who leads and which gateways there are, `members` which of these are
alive, `next_hops` lead a node to one. `resources` are our own kinds, `standing` is what probes and Prometheus see,
`pace` how long is waited for what.
"""
