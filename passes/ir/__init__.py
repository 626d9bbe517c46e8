"""Queries of IR, linear forms, attributes and constants, for passes of several levels."""
