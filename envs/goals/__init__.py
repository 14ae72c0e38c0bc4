"""Goal spaces of the environment families here: what may be set as a goal in them."""
