"""HTTP dialects: they translate between the wire and the domain, and decide nothing."""
