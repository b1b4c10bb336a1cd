"""The command line.

`start` is where the command `nat64d` begins, `app` defines it and its subcommands; `client_commands`,
`listing_commands` and `change_commands` ask a running daemon, with what they share in `asking` (they must start fast,
so nothing heavy is imported there); `top` and `top_view` are what `nat64d top` shows; `kubernetes_command` is
`nat64d kubernetes`; `demo` shows the gateway in network namespaces, which `lab` builds (the end-to-end tests use it
too); `manual` writes manual pages and shell completion for a package.
"""
