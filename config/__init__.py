"""Configuration as data: procedures, scenarios, sites, safety limits. Nobody imports it but to find its folder."""
