// The bits that are asked for are those of the types: of maps, which have no sign, weights, gradients, and the halves of
// what a method multiplies. The same network has 8 bits without options.
// RUN: %python -c "import numpy as np; np.save('%t.npy', np.random.default_rng(0).standard_normal((4, 2, 4, 4), np.float32))"
// RUN: gradcam-opt %s --pass-pipeline='builtin.module(gradcam-backward-pipeline,gradcam-calibrate{images=%t.npy range=max},gradcam-quantize)' -o %t.eight.mlir
// RUN: FileCheck %s --check-prefixes=CHECK,EIGHT --input-file %t.eight.mlir
// RUN: gradcam-opt %s --pass-pipeline='builtin.module(gradcam-backward-pipeline,gradcam-calibrate{images=%t.npy range=max},gradcam-quantize{activation-bits=9 gradient-bits=16 weight-bits=10})' -o %t.wide.mlir
// RUN: FileCheck %s --check-prefixes=CHECK,WIDE --input-file %t.wide.mlir
// RUN: gradcam-opt %t.wide.mlir --pass-pipeline='builtin.module(gradcam-set-platform{pe=2x2},convert-gradcam-to-linalg)' | FileCheck %s --check-prefix=LINALG

// CHECK-LABEL: func.func @main
// CHECK-SAME: tensor<1x2x4x4x!quant.uniform<i8:f32,
// EIGHT: arith.constant dense<{{\[\[\[\[}}127]], {{\[\[}}-63]]], {{\[\[\[}}32]], {{\[\[}}127]]]]> : tensor<2x2x1x1xi8>
// WIDE: arith.constant dense<{{\[\[\[\[}}511]], {{\[\[}}-256]]], {{\[\[\[}}128]], {{\[\[}}511]]]]> : tensor<2x2x1x1xi10>

// A map of the same range has 511 steps instead of 255.
// EIGHT: "gradcam.conv2d"({{.*}} -> tensor<1x2x4x4x!quant.uniform<u8:f32, 0.0091582350000000006>>
// WIDE: "gradcam.conv2d"({{.*}} -> tensor<1x2x4x4x!quant.uniform<u9:f32, 0.0045701559999999997>>

// Gradients are multiplied at one scale, the sum of two has 32 bits, and what the method multiplies is rounded once.
// EIGHT: "gradcam.apply_mask"({{.*}} -> tensor<1x2x4x4x!quant.uniform<i8:f32:1,
// EIGHT: "gradcam.conv2d_adjoint"({{.*}} -> tensor<1x2x4x4x!quant.uniform<i8:f32,
// WIDE: "gradcam.apply_mask"({{.*}} -> tensor<1x2x4x4x!quant.uniform<i16<-32639:32639>:f32:1,
// WIDE: "gradcam.conv2d_adjoint"({{.*}} -> tensor<1x2x4x4x!quant.uniform<i16<-32639:32639>:f32,
// CHECK: "gradcam.conv2d_adjoint"({{.*}} -> tensor<1x2x4x4x!quant.uniform<i32:f32, [[STEP:.*]]>>
// CHECK: %[[SUM:.*]] = "gradcam.add"({{.*}} -> tensor<1x2x4x4x!quant.uniform<i32:f32, [[STEP]]>>
// CHECK: %[[READ:.*]] = "gradcam.requantize"(%[[SUM]])
// EIGHT-SAME: -> tensor<1x2x4x4x!quant.uniform<i15<-16383:16383>:f32,
// WIDE-SAME: -> tensor<1x2x4x4x!quant.uniform<i16<-32639:32639>:f32,
// CHECK: "gradcam.weighted_sum"(%[[READ]],

// Products have the bits of both factors, and 16 bits are multiplied in two halves of 8 bits by the same weights.
// LINALG: ^bb0(%[[X:.*]]: i9, %[[W:.*]]: i10, %{{.*}}: i32):
// LINALG-NEXT: arith.extui %[[X]] : i9 to i19
// LINALG-NEXT: arith.extsi %[[W]] : i10 to i19
// LINALG: %[[HALVES:.*]]:2 = linalg.generic {{.*}} outs(%{{.*}}, %{{.*}} : tensor<4x4x2xi8>, tensor<4x4x2xi8>)
// LINALG-COUNT-2: ^bb0(%{{.*}}: i8, %{{.*}}: i10, %{{.*}}: i32):

func.func @main(%image: tensor<1x2x4x4xf32>, %class: tensor<1xi32>) -> (tensor<1x3xf32>, tensor<1x4x4xf32>) {
  %w1 = arith.constant dense<[[[[1.0]], [[-0.5]]], [[[0.25]], [[1.0]]]]> : tensor<2x2x1x1xf32>
  %w2 = arith.constant dense<[[[[1.0]], [[0.5]]], [[[-1.0]], [[0.5]]]]> : tensor<2x2x1x1xf32>
  %w3 = arith.constant dense<[[[[0.5]], [[1.0]]], [[[2.0]], [[1.0]]]]> : tensor<2x2x1x1xf32>
  %fc = arith.constant dense<[[1.0, -1.0], [0.5, 2.0], [-1.0, 1.0]]> : tensor<3x2xf32>
  %0 = "gradcam.conv2d"(%image, %w1) {stride = [1, 1], padding = [0, 0], dilation = [1, 1], groups = 1 : i64, operandSegmentSizes = array<i32: 1, 1, 0>} : (tensor<1x2x4x4xf32>, tensor<2x2x1x1xf32>) -> tensor<1x2x4x4xf32> loc("conv1")
  %1 = "gradcam.relu"(%0) : (tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xf32> loc("relu1")
  %2 = "gradcam.target"(%1) {path = "relu1"} : (tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xf32> loc("relu1")
  %3 = "gradcam.conv2d"(%2, %w2) {stride = [1, 1], padding = [0, 0], dilation = [1, 1], groups = 1 : i64, operandSegmentSizes = array<i32: 1, 1, 0>} : (tensor<1x2x4x4xf32>, tensor<2x2x1x1xf32>) -> tensor<1x2x4x4xf32> loc("conv2")
  %4 = "gradcam.relu"(%3) : (tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xf32> loc("relu2")
  %5 = "gradcam.conv2d"(%4, %w3) {stride = [1, 1], padding = [0, 0], dilation = [1, 1], groups = 1 : i64, operandSegmentSizes = array<i32: 1, 1, 0>} : (tensor<1x2x4x4xf32>, tensor<2x2x1x1xf32>) -> tensor<1x2x4x4xf32> loc("conv3")
  %6 = "gradcam.add"(%5, %2) : (tensor<1x2x4x4xf32>, tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xf32> loc("add")
  %7 = "gradcam.relu"(%6) : (tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xf32> loc("relu3")
  %8 = "gradcam.avg_pool2d"(%7) {kernel = [4, 4], stride = [4, 4], padding = [0, 0], dilation = [1, 1], count_include_pad = true} : (tensor<1x2x4x4xf32>) -> tensor<1x2x1x1xf32> loc("pool")
  %9 = "gradcam.flatten"(%8) : (tensor<1x2x1x1xf32>) -> tensor<1x2xf32> loc("flatten")
  %10 = "gradcam.linear"(%9, %fc) {operandSegmentSizes = array<i32: 1, 1, 0>} : (tensor<1x2xf32>, tensor<3x2xf32>) -> tensor<1x3xf32> loc("fc")
  %11 = "gradcam.explain"(%10, %2, %class) {method = "hirescam", relu = true, normalize = true, eps = 1.0e-7 : f64} : (tensor<1x3xf32>, tensor<1x2x4x4xf32>, tensor<1xi32>) -> tensor<1x4x4xf32> loc("explain")
  return %10, %11 : tensor<1x3xf32>, tensor<1x4x4xf32>
}
