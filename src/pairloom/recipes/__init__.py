"""Ready-made tasks: where their pairs come from and the settings that suit them."""
