"""What several test files share: a writer of random programs, finite differences, the table of tolerances."""
