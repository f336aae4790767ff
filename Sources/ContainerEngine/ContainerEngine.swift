// ContainerEngine: see docs/ARCHITECTURE.md for what this room holds.
