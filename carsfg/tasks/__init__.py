"""LightningModules: training and scoring of the networks."""
