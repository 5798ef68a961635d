"""Tables: rows of systems and settings, seeds, budgets."""
