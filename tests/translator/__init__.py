"""The pure half: case tables by RFC section, properties, tables and their limits."""
