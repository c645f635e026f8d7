"""What tests make: archives, volumes, rows."""
