"""Performance and precision tables, side by side with what else is there."""
