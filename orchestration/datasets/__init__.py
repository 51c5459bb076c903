"""When and how datasets are made."""
