"""Checks every call of the package against its annotations, shapes included, while tests run."""

from beartype import BeartypeConf, beartype

# an int is good where a float is asked for, as type checkers have it
check = beartype(conf=BeartypeConf(is_pep484_tower=True))
