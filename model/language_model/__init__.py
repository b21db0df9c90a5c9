"""The character model: training form, frozen form, sampling and inspection."""
