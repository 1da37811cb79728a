"""From the stream to committed facts and amounts: decode, fold, update, retry."""
