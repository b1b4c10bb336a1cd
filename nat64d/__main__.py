"""`python -m nat64d` is the command `nat64d`."""

from nat64d.cli.app import app

app(prog_name="nat64d")
