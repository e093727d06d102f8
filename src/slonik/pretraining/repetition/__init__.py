"""What repeating the data does: `slonik study repetition`."""
