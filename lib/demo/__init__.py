"""The demo's drawn pictures and small networks."""
