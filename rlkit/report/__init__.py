"""Results of many runs: read, grouped, scored with intervals, tabled and drawn."""
