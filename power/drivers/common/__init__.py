"""What several drivers share: the four families (base, scope), the bytes of one vendor's models, and how readings are checked."""
