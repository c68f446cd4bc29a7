"""The claims ledger: what the papers found, as data, and the tests that say whether a study agrees."""
