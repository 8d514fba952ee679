"""Group relative policy optimisation: the reference trainer."""
