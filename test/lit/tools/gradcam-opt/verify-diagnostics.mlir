// RUN: %gradcam_opt %s --split-input-file --verify-diagnostics -o /dev/null
// RUN: %gradcam_opt %s --split-input-file --load-pass-plugin=%S/Inputs/test_passes.py --verify-diagnostics --pass-pipeline='builtin.module()'

// expected-error@+1 {{expected non-function type}}
func.func @f( {

// -----

func.func @f() -> i32 {
  %0 = arith.constant 1 : i64
  return %0 : i64
  // expected-error@above {{type of return operand 0 ('i64') doesn't match}}
}

// -----

// expected-note @+3 {{see existing symbol definition here}}
// expected-error @+3 {{redefinition of}}

func.func private @g()
func.func private @g()

// -----

// expected-note @below {{see existing symbol definition here}}
// expected-error @+2 {{redefinition of symbol named 'g'}}
func.func private @g()
func.func private @g()

// -----

// expected-error-re@+1 {{'gradcam.{{r[a-z]+}}' op}}
"gradcam.relu"() : () -> ()
