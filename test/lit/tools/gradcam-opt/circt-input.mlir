// Input that is hw IR already is taken up on the CIRCT side, also as bytecode.
// RUN: %gradcam_opt %s --pass-pipeline='builtin.module(hw.module(cse),lower-seq-to-sv,canonicalize)' | FileCheck %s
// RUN: %gradcam_opt %s --emit-bytecode -o %t.mlirbc
// RUN: %gradcam_opt %t.mlirbc --lower-seq-to-sv | FileCheck %s
// RUN: echo "func.func @f(%x: i8) -> i8 { %y = arith.addi %x, %x : i8 return %y : i8 }" > %t.arith.mlir
// RUN: %gradcam_opt %t.arith.mlir --map-arith-to-comb | FileCheck %s --check-prefix=ARITH
// RUN: not %gradcam_opt %s --lower-affine 2>&1 | FileCheck %s --check-prefix=SIDE

// CHECK: hw.module @r
// CHECK: sv.reg
// ARITH: comb.add
// SIDE: circt-input.mlir: error: does not run on circt modules [pass 'lower-affine']
hw.module @r(in %x : i8, in %clk : !seq.clock, out y : i8) {
  %r = seq.compreg %x, %clk : i8
  hw.output %r : i8
}
