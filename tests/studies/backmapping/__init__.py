"""Studies of backmapping, and the dynamics that they are measured against."""
