"""Mutants of translator/ and nat64d/: does a test that a matrix names fail when the product is broken?

mutations.py   the mutants of a module's functions, by their syntax tree
hunt.py        which named tests run a line, and whether one of them notices a mutant
__main__.py    the command (`make mutants`)
"""
