"""What devices say and how it is said: messages, protocols, links, recorded devices."""
