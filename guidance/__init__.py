"""The real-time brain of an image-guided intervention room. Research software, not a medical device."""

__version__ = "0.1.0"
