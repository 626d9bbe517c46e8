// RUN: %gradcam_opt %s --pass-pipeline='builtin.module(gradcam-set-platform{pe=2x2 dram-width=64 resident=true},convert-gradcam-to-linalg,canonicalize,cse)' | FileCheck %s
// RUN: %gradcam_opt %s --pass-pipeline='builtin.module(gradcam-set-platform{pe=2x2},convert-gradcam-to-linalg,canonicalize,cse)' | FileCheck %s --check-prefix=FIXED
// RUN: not %gradcam_opt %s --pass-pipeline='builtin.module(gradcam-set-platform{resident=true})' 2>&1 | FileCheck %s --check-prefix=ALONE

!x = !quant.uniform<i8:f32, 5.000000e-01>
!w = !quant.uniform<i8:f32:0, {5.000000e-01, 2.500000e-01}>
!b = !quant.uniform<i32:f32:0, {2.500000e-01, 1.250000e-01}>

// Weights, biases, multipliers and shifts are in memories: equal biases stay two, weights that both layers read are one. With s = 15 multipliers of 15 bits are
// doubled, and 2 + 2 * 7 bits shifted out. Without resident weights the shift is a constant, and equal biases are one.
// ALONE: resident weights are loaded from a DRAM; give its dram-width
// CHECK-COUNT-7: memref.global "private" @parameter
// CHECK-LABEL: func.func @main(
// CHECK-COUNT-7: bufferization.to_tensor {{.*}} restrict
// CHECK: linalg.generic
// CHECK: linalg.generic
// CHECK-SAME: tensor<2xi25>, tensor<2xi17>, tensor<2xi5>
// CHECK: %[[P:.*]] = arith.muli {{.*}} : i48
// CHECK: arith.shli {{.*}} %c1_i48
// CHECK: arith.shrsi %[[P]], %c1_i48
// CHECK: arith.addi {{.*}} %c1_i48
// CHECK: arith.shrsi {{.*}} %c1_i48
// FIXED-NOT: memref.global
// FIXED: linalg.generic {{.*}}reduction
// FIXED: linalg.generic
// FIXED-SAME: tensor<2xi32>, tensor<2xi18>
// FIXED: arith.shrsi {{.*}} %c15_i49
func.func @main(%x: tensor<1x2x3x3x!x>) -> tensor<1x2x3x3x!x> {
  %cw = arith.constant dense<1> : tensor<2x2x1x1xi8>
  %cb = arith.constant dense<3> : tensor<2xi32>
  %w = quant.scast %cw : tensor<2x2x1x1xi8> to tensor<2x2x1x1x!w>
  %b = quant.scast %cb : tensor<2xi32> to tensor<2x!b>
  %y = "gradcam.conv2d"(%x, %w, %b) {stride = [1, 1], padding = [0, 0], dilation = [1, 1], groups = 1 : i64,
    operandSegmentSizes = array<i32: 1, 1, 1>} : (tensor<1x2x3x3x!x>, tensor<2x2x1x1x!w>, tensor<2x!b>) -> tensor<1x2x3x3x!x>
  %z = "gradcam.conv2d"(%y, %w, %b) {stride = [1, 1], padding = [0, 0], dilation = [1, 1], groups = 1 : i64,
    operandSegmentSizes = array<i32: 1, 1, 1>} : (tensor<1x2x3x3x!x>, tensor<2x2x1x1x!w>, tensor<2x!b>) -> tensor<1x2x3x3x!x>
  return %z : tensor<1x2x3x3x!x>
}
