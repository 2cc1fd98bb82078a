"""Pre-training settings as TOML, one file a size and one a form."""
