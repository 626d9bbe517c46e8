// RUN: gradcam-opt %s --gradcam-quantize --split-input-file --verify-diagnostics | FileCheck %s

// The convolution takes the relu's range (255 / 255 = 1) without a sign, the classifier keeps its accumulators, and the class row
// reads the classifier's own weight.
// CHECK-LABEL: func.func @main
// CHECK-SAME: %[[IMAGE:.*]]: tensor<1x1x1x2x!quant.uniform<i8:f32, 5.000000e-01>>, %{{.*}}: tensor<1xi32>
// CHECK-SAME: -> (tensor<1x2x!quant.uniform<i32:f32, [[LOGITS:.*]]>>, tensor<1x1x2x!quant.uniform<i32:f32, {{.*}}>>)
// CHECK-SAME: gradcam.explain
// CHECK: %[[CW:.*]] = arith.constant dense<{{.*}}127{{.*}}-127{{.*}}> : tensor<2x1x1x1xi8>
// CHECK-NEXT: %[[W:.*]] = quant.scast %[[CW]] : tensor<2x1x1x1xi8> to tensor<2x1x1x1x!quant.uniform<i8:f32:0, {1.000000e+00,5.000000e-01}>>
// CHECK: %[[CB:.*]] = arith.constant dense<[3, -8]> : tensor<2xi32>
// CHECK-NEXT: %[[B:.*]] = quant.scast %[[CB]] : tensor<2xi32> to tensor<2x!quant.uniform<i32:f32:0, {5.000000e-01,2.500000e-01}>>
// CHECK: %[[TABLE:.*]] = quant.scast %{{.*}} : tensor<2x2xi8> to tensor<2x2x!quant.uniform<i8:f32, 1.000000e+00>>
// CHECK: %[[CONV:.*]] = "gradcam.conv2d"(%[[IMAGE]], %[[W]], %[[B]])
// CHECK-NOT: gradcam.range
// CHECK-SAME: -> tensor<1x2x1x2x!quant.uniform<u8:f32, 1.000000e+00>>
// CHECK: "gradcam.relu"(%[[CONV]])
// CHECK-SAME: -> tensor<1x2x1x2x!quant.uniform<u8:f32, 1.000000e+00>>
// CHECK: "gradcam.flatten"
// CHECK-SAME: -> tensor<1x2x!quant.uniform<u8:f32, 0.19607840000000001>>
// CHECK: "gradcam.linear"(%{{.*}}, %[[TABLE]])
// CHECK-SAME: -> tensor<1x2x!quant.uniform<i32:f32, [[LOGITS]]>>
// CHECK: "gradcam.class_row"(%[[TABLE]], %{{.*}})
// CHECK: "gradcam.weighted_sum"
// CHECK-SAME: -> tensor<1x1x2x!quant.uniform<i32:f32, 1.000000e+00>>
// CHECK: "gradcam.scale"
// CHECK-SAME: -> tensor<1x1x2x!quant.uniform<i32:f32, 5.000000e-01>>
func.func @main(%image: tensor<1x1x1x2xf32> {gradcam.range = 63.5 : f64}, %class: tensor<1xi32>)
    -> (tensor<1x2xf32>, tensor<1x1x2xf32>) attributes {gradcam.explain = {target = "features"}} {
  %w = arith.constant dense<[[[[127.0]]], [[[-63.5]]]]> : tensor<2x1x1x1xf32>
  %b = arith.constant dense<[1.5, -2.0]> : tensor<2xf32>
  %fc = arith.constant dense<[[127.0, 1.0], [2.0, -3.0]]> : tensor<2x2xf32>
  %0 = "gradcam.conv2d"(%image, %w, %b) {stride = [1, 1], padding = [0, 0], dilation = [1, 1], groups = 1,
      gradcam.range = 500.0 : f64, operandSegmentSizes = array<i32: 1, 1, 1>}
      : (tensor<1x1x1x2xf32>, tensor<2x1x1x1xf32>, tensor<2xf32>) -> tensor<1x2x1x2xf32>
  %1 = "gradcam.relu"(%0) {gradcam.range = 255.0 : f64} : (tensor<1x2x1x2xf32>) -> tensor<1x2x1x2xf32>
  %2 = "gradcam.avg_pool2d"(%1) {kernel = [1, 2], stride = [1, 1], padding = [0, 0], dilation = [1, 1],
      count_include_pad = true, gradcam.range = 50.0 : f64} : (tensor<1x2x1x2xf32>) -> tensor<1x2x1x1xf32>
  %3 = "gradcam.flatten"(%2) : (tensor<1x2x1x1xf32>) -> tensor<1x2xf32>
  %4 = "gradcam.linear"(%3, %fc) {operandSegmentSizes = array<i32: 1, 1, 0>}
      : (tensor<1x2xf32>, tensor<2x2xf32>) -> tensor<1x2xf32>
  %5 = "gradcam.select_class"(%4, %class) : (tensor<1x2xf32>, tensor<1xi32>) -> tensor<1xi32>
  %6 = "gradcam.class_row"(%fc, %5) : (tensor<2x2xf32>, tensor<1xi32>) -> tensor<1x2xf32>
  %7 = "gradcam.weighted_sum"(%6, %1) : (tensor<1x2xf32>, tensor<1x2x1x2xf32>) -> tensor<1x1x2xf32>
  %8 = "gradcam.scale"(%7) {factor = 0.5 : f64} : (tensor<1x1x2xf32>) -> tensor<1x1x2xf32>
  return %4, %8 : tensor<1x2xf32>, tensor<1x1x2xf32>
}

// -----

// A convolution that only a sum reads has 32 bits at the sum's scale.
// CHECK-LABEL: func.func @main
// CHECK: %[[A:.*]] = "gradcam.conv2d"
// CHECK-SAME: -> tensor<1x1x1x1x!quant.uniform<i8:f32, 2.000000e+00>>
// CHECK: %[[B:.*]] = "gradcam.conv2d"
// CHECK-SAME: -> tensor<1x1x1x1x!quant.uniform<i32:f32, 4.000000e+00>>
// CHECK: "gradcam.add"(%[[B]], %[[A]])
// CHECK-SAME: -> tensor<1x1x1x1x!quant.uniform<i8:f32, 4.000000e+00>>
func.func @main(%image: tensor<1x1x1x1xf32> {gradcam.range = 127.0 : f64}) -> tensor<1x1xf32> {
  %w = arith.constant dense<127.0> : tensor<1x1x1x1xf32>
  %fc = arith.constant dense<127.0> : tensor<1x1xf32>
  %0 = "gradcam.conv2d"(%image, %w) {stride = [1, 1], padding = [0, 0], dilation = [1, 1], groups = 1,
      gradcam.range = 254.0 : f64, operandSegmentSizes = array<i32: 1, 1, 0>}
      : (tensor<1x1x1x1xf32>, tensor<1x1x1x1xf32>) -> tensor<1x1x1x1xf32>
  %1 = "gradcam.conv2d"(%image, %w) {stride = [1, 1], padding = [0, 0], dilation = [1, 1], groups = 1,
      gradcam.range = 254.0 : f64, operandSegmentSizes = array<i32: 1, 1, 0>}
      : (tensor<1x1x1x1xf32>, tensor<1x1x1x1xf32>) -> tensor<1x1x1x1xf32>
  %2 = "gradcam.add"(%1, %0) {gradcam.range = 508.0 : f64}
      : (tensor<1x1x1x1xf32>, tensor<1x1x1x1xf32>) -> tensor<1x1x1x1xf32>
  %3 = "gradcam.flatten"(%2) : (tensor<1x1x1x1xf32>) -> tensor<1x1xf32>
  %4 = "gradcam.linear"(%3, %fc) {operandSegmentSizes = array<i32: 1, 1, 0>}
      : (tensor<1x1xf32>, tensor<1x1xf32>) -> tensor<1x1xf32>
  return %4 : tensor<1x1xf32>
}

// -----

func.func @main(%image: tensor<1x2x1x1xf32> {gradcam.range = 1.0 : f64}) -> tensor<1x1xf32> {
  %fc = arith.constant dense<1.0> : tensor<1x2xf32>
  // expected-error@+1 {{'gradcam.add' has no gradcam.range; run gradcam-calibrate first}}
  %0 = "gradcam.add"(%image, %image) : (tensor<1x2x1x1xf32>, tensor<1x2x1x1xf32>) -> tensor<1x2x1x1xf32>
  %1 = "gradcam.flatten"(%0) : (tensor<1x2x1x1xf32>) -> tensor<1x2xf32>
  %2 = "gradcam.linear"(%1, %fc) {operandSegmentSizes = array<i32: 1, 1, 0>}
      : (tensor<1x2xf32>, tensor<1x2xf32>) -> tensor<1x1xf32>
  return %2 : tensor<1x1xf32>
}

// -----

// What a concatenation joins is stored at the scale of the whole; the image keeps its own.
// CHECK-LABEL: func.func @joined
// CHECK: "gradcam.conv2d"({{.*}} -> tensor<1x1x1x1x!quant.uniform<i8:f32, 2.000000e+00>>
// CHECK: "gradcam.relu"({{.*}} -> tensor<1x1x1x1x!quant.uniform<i8:f32, 2.000000e+00>>
// CHECK: "gradcam.concat"(%{{.+}}, %arg0) : (tensor<1x1x1x1x!quant.uniform<i8:f32, 2.000000e+00>>, tensor<1x1x1x1x!quant.uniform<i8:f32, 1.000000e+00>>) -> tensor<1x2x1x1x!quant.uniform<i8:f32, 2.000000e+00>>
// CHECK: "gradcam.take_channels"({{.*}} -> tensor<1x2x1x1x!quant.uniform<i8:f32, 2.000000e+00>>
func.func @joined(%image: tensor<1x1x1x1xf32> {gradcam.range = 127.0 : f64}) -> tensor<1x1xf32> {
  %w = arith.constant dense<1.0> : tensor<1x1x1x1xf32>
  %fc = arith.constant dense<1.0> : tensor<1x2xf32>
  %0 = "gradcam.conv2d"(%image, %w) {stride = [1, 1], padding = [0, 0], dilation = [1, 1], groups = 1,
      gradcam.range = 100.0 : f64, operandSegmentSizes = array<i32: 1, 1, 0>}
      : (tensor<1x1x1x1xf32>, tensor<1x1x1x1xf32>) -> tensor<1x1x1x1xf32>
  %1 = "gradcam.relu"(%0) {gradcam.range = 90.0 : f64} : (tensor<1x1x1x1xf32>) -> tensor<1x1x1x1xf32>
  %2 = "gradcam.concat"(%1, %image) {gradcam.range = 254.0 : f64}
      : (tensor<1x1x1x1xf32>, tensor<1x1x1x1xf32>) -> tensor<1x2x1x1xf32>
  %3 = "gradcam.take_channels"(%2) {order = [1, 0], gradcam.range = 254.0 : f64}
      : (tensor<1x2x1x1xf32>) -> tensor<1x2x1x1xf32>
  %4 = "gradcam.flatten"(%3) : (tensor<1x2x1x1xf32>) -> tensor<1x2xf32>
  %5 = "gradcam.linear"(%4, %fc) {operandSegmentSizes = array<i32: 1, 1, 0>}
      : (tensor<1x2xf32>, tensor<1x2xf32>) -> tensor<1x1xf32>
  return %5 : tensor<1x1xf32>
}

// -----

func.func @main(%image: tensor<1x2x4x4xf32> {gradcam.range = 1.0 : f64}) -> tensor<1x2x4x4xf32> {
  // expected-error@+1 {{'gradcam.max_pool2d_adjoint' has no quantized form; run gradcam-extract-masks first}}
  %0 = "gradcam.max_pool2d_adjoint"(%image, %image) {kernel = [1, 1], stride = [1, 1], padding = [0, 0], dilation = [1, 1]}
      : (tensor<1x2x4x4xf32>, tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xf32>
  return %0 : tensor<1x2x4x4xf32>
}

// -----

func.func @main(%image: tensor<1x2x40x40xf32> {gradcam.range = 1.0 : f64}) -> tensor<1x2x40x40xf32> {
  // expected-error@+1 {{'gradcam.avg_pool2d_adjoint' has windows of so many sizes that their least common multiple is}}
  %0 = "gradcam.avg_pool2d_adjoint"(%image) {kernel = [23, 23], stride = [1, 1], padding = [11, 11], dilation = [1, 1], count_include_pad = false}
      : (tensor<1x2x40x40xf32>) -> tensor<1x2x40x40xf32>
  return %0 : tensor<1x2x40x40xf32>
}
