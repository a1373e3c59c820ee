"""The fixed engine that runs a network layer by layer: instructions, compiler, model."""
