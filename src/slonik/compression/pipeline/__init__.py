"""A checkpoint goes in, a much smaller one comes out: `slonik compress`, `slonik distill`, `slonik demo`, trimming."""
