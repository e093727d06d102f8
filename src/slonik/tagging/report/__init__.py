"""Tables of taggers and the page of their errors."""
