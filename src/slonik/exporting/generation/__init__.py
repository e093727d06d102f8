"""Export of what writes: decoders and encoder-decoders with a cache of keys and values, int8, parity with torch."""
