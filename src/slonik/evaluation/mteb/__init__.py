"""MTEB: its Russian tasks run by the package mteb, and what others published on them."""
