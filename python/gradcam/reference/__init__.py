"""Reference semantics: every quantized op in integers. No pass imports it, so that it can check their results."""
