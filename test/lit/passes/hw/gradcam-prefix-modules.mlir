// RUN: %gradcam_opt %s --pass-pipeline='builtin.module(gradcam-prefix-modules{design=left})' | FileCheck %s
// RUN: not %gradcam_opt %s --pass-pipeline='builtin.module(gradcam-prefix-modules{design=Left})' 2>&1 | FileCheck %s --check-prefix=WRONG

// The name of the design stands before modules and files; instances and ports keep their names.
// CHECK: hw.module @left_biases(in %raddr : i1, out rdata : i8)
// CHECK: sv.readmem %memory, "mem/left_biases.hex", MemBaseHex
// CHECK: hw.module @left_gradcam_top(in %raddr : i1, out rdata : i8)
// CHECK: hw.instance "biases" @left_biases(raddr: %raddr: i1) -> (rdata: i8)
// WRONG: error: the name of a design has a-z, 0-9 and single underscores
module {
hw.module @biases(in %raddr : i1, out rdata : i8) {
  %memory = sv.reg : !hw.inout<uarray<2xi8>>
  sv.initial {
    sv.readmem %memory, "mem/biases.hex", MemBaseHex : !hw.inout<uarray<2xi8>>
  }
  %word = sv.array_index_inout %memory[%raddr] : !hw.inout<uarray<2xi8>>, i1
  %rdata = sv.read_inout %word : !hw.inout<i8>
  hw.output %rdata : i8
}
hw.module @gradcam_top(in %raddr : i1, out rdata : i8) {
  %rdata = hw.instance "biases" @biases(raddr: %raddr: i1) -> (rdata: i8)
  hw.output %rdata : i8
}
}
