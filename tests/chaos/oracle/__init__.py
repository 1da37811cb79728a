"""What events, links and typed amounts come to: a plain, slow fold, written from the definitions. No code of core."""
