"""LightningModules: what is trained, how, and how it is scored."""
