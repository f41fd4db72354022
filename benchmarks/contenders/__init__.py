"""The contenders: each function sets one up, warms it up, and returns how to measure it."""
