"""Goal spaces for the environments of this package."""
