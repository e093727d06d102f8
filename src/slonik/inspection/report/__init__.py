"""Pages and tables of what probing and inspection found."""
