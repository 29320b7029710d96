"""Plain text: reading documents as a stream, cleaning, packing into blocks, a token cache, masking."""
