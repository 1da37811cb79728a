"""How providers spell what happened: one module a provider, with its adapter, its webhook and its signature."""
