"""The command line: one thin module per command group, with lazy imports and no logic."""
