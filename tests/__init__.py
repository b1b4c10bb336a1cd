"""The tests; README.md in this folder says which room holds what."""
