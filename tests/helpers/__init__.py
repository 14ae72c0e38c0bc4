"""What several test files share: worlds, makers of data, slow oracles."""
