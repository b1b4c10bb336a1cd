"""`python -m nat64d` is the command `nat64d`."""

from nat64d.cli.start import main

main()
