"""What each figure shows: its numbers, checked, and its caption. Figures draw it."""
