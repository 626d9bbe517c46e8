"""Reference semantics: the meaning of every quantized op in integers. No pass imports it: it checks what they make."""
