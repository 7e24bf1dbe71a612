"""How long a test waits for what must happen: whatever takes longer hangs, however slow the machine is."""

PATIENCE = 3600.0  # seconds
