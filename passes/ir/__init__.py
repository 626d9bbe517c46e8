"""Questions about IR, affine forms and constants, for passes of several levels."""
