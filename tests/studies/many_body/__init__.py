"""Studies of many-body terms and of choosing among them."""
