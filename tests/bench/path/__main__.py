"""`python -m tests.bench.path`."""

import typer

from tests.bench.path.run import main

typer.run(main)
