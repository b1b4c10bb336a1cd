"""nat64d: everything that touches the world: configuration, TUN device, host setup, control plane, commands.

The packets themselves are translated by the package `translator`, which knows nothing of this one.
"""

__version__ = "0.1.0"
