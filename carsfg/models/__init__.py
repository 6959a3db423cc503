"""Networks as plain nn.Modules, without Lightning."""
