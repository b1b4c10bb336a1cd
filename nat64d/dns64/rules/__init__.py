"""What is answered and how, as pure functions: `queries` (what a client sends and can take), `policy` (which prefix for
which client), `maps` (the [[eam]] rows), `synthesis` (RFC 6147 section 5.1), `local` (answers that need no upstream
server), `filter_a` (answers without IPv4 addresses)."""
