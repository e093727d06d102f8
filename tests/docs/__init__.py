"""What tests of the documentation need: blocks of pages, and a desk with the files that they name."""
