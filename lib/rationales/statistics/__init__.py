"""Statistics: intervals, paired tests, equivalence, families of tests and crossed random effects."""
