"""Speech: the front end of recognizers."""
