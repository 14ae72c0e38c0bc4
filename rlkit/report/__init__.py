"""Reports on many runs: reads and groups results, computes scores with intervals, writes tables and plots."""
