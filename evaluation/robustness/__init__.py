"""How much of a detector is left when files have been through what files go through."""
