"""The simulated room: devices with known truth. Never imports guidance; truth is computed its own way."""
