"""Reading finished run folders and turning them into figures, tables and one page. Never sees a live model."""
