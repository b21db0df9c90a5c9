"""Published data sets by name, verified before they are used."""
