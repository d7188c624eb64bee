"""A net read without running it: summary, difference, lint, drawing. Free of torch."""
