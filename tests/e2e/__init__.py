"""End to end: nat64d between kernel stacks, real programs at both ends, everything in namespaces of the test's own."""
