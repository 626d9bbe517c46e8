"""Reference semantics: an interpreter and the meaning of every op, in f32 and in integers."""
