"""`python -m tests.bench`."""

import typer

from tests.bench.bench import main

typer.run(main)
