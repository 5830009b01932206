"""What tests share: small media, tiny runs, fixtures and reference networks."""
