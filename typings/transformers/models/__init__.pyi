# Every family would be read with it (see the stub of the root).
