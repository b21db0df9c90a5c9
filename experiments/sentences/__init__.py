"""Language models of sentences, with and without a latent vector."""
