"""The reflector at the data centre: it answers every site's test packets, and counts them."""
