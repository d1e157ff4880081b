"""Change, count, check and compare what is stored, in every backend of an experiment."""
