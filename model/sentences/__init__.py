"""Sentences from a continuous space: a variational autoencoder of sentences."""
