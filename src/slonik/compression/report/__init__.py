"""Tables, pages and cards of a compression."""
