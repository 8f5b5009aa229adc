"""From a target density to a trained model, round by round."""
