//! Headers that are right, nearly right, and chance.
