"""How rows get into a target: full replace, upsert, append, as statements for every warehouse."""
