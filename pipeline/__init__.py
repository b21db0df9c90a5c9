"""The stages from a raw corpus to a served model, named and laid out as TFX does."""
