"""Golden sets: read, admitted, split without leakage, versioned by digest, imported from other formats."""
