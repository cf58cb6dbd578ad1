"""Nobody gets in where they don't belong: one test for each numbered attack, against the deployed stack."""
