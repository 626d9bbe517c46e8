// One pipeline of project, upstream and CIRCT passes, across the crossing.
// RUN: %gradcam_opt --load-pass-plugin=%S/Inputs/test_passes.py %s --dump-pass-pipeline --pass-pipeline='builtin.module(canonicalize,test-rename{count=7 style=kebab},func.func(cse,canonicalize))' 2>&1 | FileCheck %s --check-prefix=NAMES
// RUN: %gradcam_opt --load-pass-plugin=%S/Inputs/test_passes.py %s --test-rename='suffix="two words" count=3' | FileCheck %s --check-prefix=FLAG
// RUN: %gradcam_opt --load-pass-plugin=%S/Inputs/test_passes.py %s --pass-pipeline='builtin.module(func.func(cse),test-cross,hw.module(canonicalize,cse))' | FileCheck %s --check-prefix=CROSS

// NAMES: builtin.module(canonicalize,test-rename{suffix=renamed count=7 style=kebab},func.func(cse,canonicalize))
// NAMES: func.func @"f-renamed-7"
// FLAG: func.func @"f_two words_3"
// CROSS: hw.module @adder
// CROSS-NOT: func.func
func.func @f(%a: i32) -> i32 {
  return %a : i32
}
