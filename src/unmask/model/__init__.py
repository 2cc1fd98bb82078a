"""The network: one Transformer over packed tokens, its kernels, its heads."""
