// A project pass's and a CIRCT pass's diagnostics are matched too.
// RUN: %gradcam_opt %s --load-pass-plugin=%S/Inputs/test_passes.py --verify-diagnostics --test-fail

// expected-error@+1 {{does not like this}}
func.func private @f()
