// --verify-roundtrip checks the input before the passes run; locations and unknown dialects survive, too.
// RUN: %gradcam_opt %s --verify-roundtrip --split-input-file --allow-unregistered-dialect --cse | FileCheck %s
// RUN: %gradcam_opt %s --mlir-disable-threading --split-input-file --allow-unregistered-dialect --cse | FileCheck %s
// RUN: echo "hw.module @m(in %%a : i8, out b : i8) { %%c = comb.add %%a, %%a : i8 hw.output %%c : i8 }" > %t.mlir
// RUN: %gradcam_opt %t.mlir --verify-roundtrip --mlir-disable-threading --canonicalize | FileCheck %s --check-prefix=HW

// CHECK: gradcam.relu
// CHECK: test.op
// HW: hw.module @m
func.func @f(%x: tensor<1x2x4x4xf32> loc("image")) -> tensor<1x2x4x4xf32> {
  %y = "gradcam.relu"(%x) : (tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xf32> loc("stem.relu")
  return %y : tensor<1x2x4x4xf32>
}

// -----

"test.op"() {a = dense<[1.0e-40, 0x7FC00001]> : tensor<2xf32>, b = !quant.uniform<i8:f32, 0.1234567890123>} : () -> ()
