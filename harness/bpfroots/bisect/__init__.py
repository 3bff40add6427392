"""Finding the commit that changed what the verifier, the JIT or a program does."""
