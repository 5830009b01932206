"""Texts to phonemes and their times on the latent grid."""
