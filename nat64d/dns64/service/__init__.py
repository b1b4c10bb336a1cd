"""The processes: `process` answers queries, `plan` is the document that configures it, `children` starts it and talks
to it, `supervisor` adapts the plan to this host; `listening` finds out which program holds a port."""
