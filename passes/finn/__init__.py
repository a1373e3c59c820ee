"""From our hardware nodes to FINN's: one rewrite a file. Writing FINN's nodes needs no FINN; FoldToCycles asks FINN for its cycles."""
