// RUN: %gradcam_opt %s --gradcam-set-platform=pe=8x8 --gradcam-group-pixels --mlir-print-debuginfo | FileCheck %s
// RUN: %gradcam_opt %s --gradcam-set-platform=pe=4x4 --gradcam-group-pixels | FileCheck %s --check-prefix=FULL

// Two pixels of four channels fill eight lanes. The pool reads single pixels; the convolution of stride 2 moves by
// whole groups, and reads two of them.
// CHECK: gradcam.pixels = {conv = [1, 2, 4], relu = [1, 2, 4]}
// CHECK-LABEL: func.func @chain
// CHECK: "gradcam.conv2d"(%{{.*}}, %{{.*}}, %{{.*}}) {{.*}} padding = [1, 1], stride = [1, 2]}
// CHECK-SAME: tensor<8x4x3x4x!quant.uniform<i8:f32:0, {1.000000e-01,2.000000e-01,3.000000e-01,4.000000e-01,1.000000e-01,2.000000e-01,3.000000e-01,4.000000e-01}>>
// CHECK-SAME: tensor<8x!quant.uniform<i32:f32:0, {1.000000e-01,
// CHECK-SAME: -> tensor<1x8x8x4x!quant.uniform<i8:f32, 2.500000e-01>>
// CHECK: %[[RELU:.*]] = "gradcam.relu"({{.*}} -> tensor<1x8x8x4x!quant.uniform<i8:f32, 2.500000e-01>>
// CHECK: "gradcam.conv2d"(%[[RELU]], %{{.*}}) {{.*}} padding = [1, 1, 0, 0], stride = [2, 1]}
// CHECK-SAME: tensor<8x8x3x2x!quant.uniform<i8:f32, 1.000000e-01>>
// CHECK-SAME: -> tensor<1x8x4x4x!quant.uniform<i8:f32, 5.000000e-01>>
// CHECK: %[[APART:.*]] = "gradcam.fold2d"(%[[RELU]]) {kernel = [1, 2]}
// CHECK-SAME: -> tensor<1x4x8x8x!quant.uniform<i8:f32, 2.500000e-01>> loc(#[[PIXELS:.*]])
// CHECK: "gradcam.max_pool2d"(%[[APART]])
// CHECK: #[[PIXELS]] = loc("relu.pixels")

// FULL-NOT: gradcam.pixels
// FULL-NOT: fold2d
!image = tensor<1x4x8x8x!quant.uniform<i8:f32, 0.5>>
!map = tensor<1x4x8x8x!quant.uniform<i8:f32, 0.25>>
!weights = tensor<4x4x3x3x!quant.uniform<i8:f32:0, {0.1, 0.2, 0.3, 0.4}>>
!bias = tensor<4x!quant.uniform<i32:f32:0, {0.1, 0.2, 0.3, 0.4}>>
!wide = tensor<8x4x3x3x!quant.uniform<i8:f32, 0.1>>
!small = tensor<1x8x4x4x!quant.uniform<i8:f32, 0.5>>
!pooled = tensor<1x4x4x4x!quant.uniform<i8:f32, 0.25>>
func.func @chain(%image: !image) -> (!small, !pooled) {
  %c = arith.constant dense<3> : tensor<4x4x3x3xi8>
  %w = "quant.scast"(%c) : (tensor<4x4x3x3xi8>) -> !weights
  %d = arith.constant dense<7> : tensor<4xi32>
  %b = "quant.scast"(%d) : (tensor<4xi32>) -> !bias
  %y = "gradcam.conv2d"(%image, %w, %b) {operandSegmentSizes = array<i32: 1, 1, 1>, stride = [1, 1], padding = [1, 1], dilation = [1, 1], groups = 1 : i64} : (!image, !weights, !bias) -> !map loc("conv")
  %r = "gradcam.relu"(%y) : (!map) -> !map loc("relu")
  %e = arith.constant dense<2> : tensor<8x4x3x3xi8>
  %v = "quant.scast"(%e) : (tensor<8x4x3x3xi8>) -> !wide
  %s = "gradcam.conv2d"(%r, %v) {operandSegmentSizes = array<i32: 1, 1, 0>, stride = [2, 2], padding = [1, 1], dilation = [1, 1], groups = 1 : i64} : (!map, !wide) -> !small loc("down")
  %p = "gradcam.max_pool2d"(%r) {kernel = [2, 2], stride = [2, 2], padding = [0, 0], dilation = [1, 1]} : (!map) -> !pooled loc("pool")
  return %s, %p : !small, !pooled
}
