// RUN: %gradcam_opt %s --gradcam-simplify-head --split-input-file | FileCheck %s

// A 1x1 convolution before a global pool, as in NiN without its ReLU: the pool comes first, and the rest is linear.
// CHECK-LABEL: func.func @conv_before_pool
// CHECK: %[[B:.*]] = arith.constant dense<1.000000e+00> : tensor<3xf32>
// CHECK: %[[POOL:.*]] = "gradcam.avg_pool2d"(%arg0) {{.*}} kernel = [4, 5], padding = [0, 0], stride = [4, 5]} : (tensor<1x2x4x5xf32>) -> tensor<1x2x1x1xf32>
// CHECK: %[[W:.*]] = arith.constant dense<5.000000e-01> : tensor<3x2xf32>
// CHECK-NEXT: %[[FLAT:.*]] = "gradcam.flatten"(%[[POOL]])
// CHECK-NEXT: %[[Y:.*]] = "gradcam.linear"(%[[FLAT]], %[[W]], %[[B]])
// CHECK-NEXT: return %[[Y]]
func.func @conv_before_pool(%x: tensor<1x2x4x5xf32>) -> tensor<1x3xf32> {
  %w = arith.constant dense<0.5> : tensor<3x2x1x1xf32>
  %b = arith.constant dense<1.0> : tensor<3xf32>
  %c = "gradcam.conv2d"(%x, %w, %b) {stride = [1, 1], padding = [0, 0], dilation = [1, 1], groups = 1 : i64, operandSegmentSizes = array<i32: 1, 1, 1>} : (tensor<1x2x4x5xf32>, tensor<3x2x1x1xf32>, tensor<3xf32>) -> tensor<1x3x4x5xf32>
  %p = "gradcam.avg_pool2d"(%c) {kernel = [4, 5], stride = [4, 5], padding = [0, 0], dilation = [1, 1], count_include_pad = true} : (tensor<1x3x4x5xf32>) -> tensor<1x3x1x1xf32>
  %f = "gradcam.flatten"(%p) : (tensor<1x3x1x1xf32>) -> tensor<1x3xf32>
  return %f : tensor<1x3xf32>
}

// -----

// A convolution as large as the map, an activation and a pool of one element.
// CHECK-LABEL: func.func @whole_map
// CHECK: %[[W:.*]] = arith.constant dense<{{.*}}> : tensor<1x4xf32>
// CHECK: %[[FLAT:.*]] = "gradcam.flatten"(%arg0) : (tensor<1x1x2x2xf32>) -> tensor<1x4xf32>
// CHECK-NEXT: %[[Y:.*]] = "gradcam.linear"(%[[FLAT]], %[[W]])
// CHECK-NEXT: "gradcam.relu"(%[[Y]]) : (tensor<1x1xf32>) -> tensor<1x1xf32>
func.func @whole_map(%x: tensor<1x1x2x2xf32>) -> tensor<1x1xf32> {
  %w = arith.constant dense<[[[[1.0, 2.0], [3.0, 4.0]]]]> : tensor<1x1x2x2xf32>
  %c = "gradcam.conv2d"(%x, %w) {stride = [2, 2], padding = [0, 0], dilation = [1, 1], groups = 1 : i64, operandSegmentSizes = array<i32: 1, 1, 0>} : (tensor<1x1x2x2xf32>, tensor<1x1x2x2xf32>) -> tensor<1x1x1x1xf32>
  %r = "gradcam.relu"(%c) : (tensor<1x1x1x1xf32>) -> tensor<1x1x1x1xf32>
  %p = "gradcam.max_pool2d"(%r) {kernel = [1, 1], stride = [1, 1], padding = [0, 0], dilation = [1, 1]} : (tensor<1x1x1x1xf32>) -> tensor<1x1x1x1xf32>
  %f = "gradcam.flatten"(%p) : (tensor<1x1x1x1xf32>) -> tensor<1x1xf32>
  return %f : tensor<1x1xf32>
}

// -----

// Means of rows, then of columns, are one pool.
// CHECK-LABEL: func.func @merged
// CHECK-NEXT: "gradcam.avg_pool2d"(%arg0) {{.*}} kernel = [4, 6], padding = [0, 0], stride = [4, 6]}
// CHECK-NEXT: return
func.func @merged(%x: tensor<1x2x4x6xf32>) -> tensor<1x2x1x1xf32> {
  %p = "gradcam.avg_pool2d"(%x) {kernel = [1, 6], stride = [1, 6], padding = [0, 0], dilation = [1, 1], count_include_pad = true} : (tensor<1x2x4x6xf32>) -> tensor<1x2x4x1xf32>
  %q = "gradcam.avg_pool2d"(%p) {kernel = [4, 1], stride = [4, 1], padding = [0, 0], dilation = [1, 1], count_include_pad = true} : (tensor<1x2x4x1xf32>) -> tensor<1x2x1x1xf32>
  return %q : tensor<1x2x1x1xf32>
}

// -----

// What does not commute stays: a padded or strided convolution, a pool of a part, a feature map with another reader.
// CHECK-LABEL: func.func @stays
// CHECK: gradcam.conv2d
// CHECK-NEXT: gradcam.avg_pool2d
// CHECK-NEXT: gradcam.conv2d
// CHECK-NEXT: gradcam.avg_pool2d
// CHECK-NEXT: gradcam.conv2d
// CHECK-NEXT: gradcam.avg_pool2d
// CHECK-NEXT: return
func.func @stays(%x: tensor<1x2x4x4xf32>) -> (tensor<1x2x1x1xf32>, tensor<1x2x1x1xf32>, tensor<1x2x4x4xf32>, tensor<1x2x1x1xf32>) {
  %w = arith.constant dense<0.5> : tensor<2x2x1x1xf32>
  %a = "gradcam.conv2d"(%x, %w) {stride = [1, 1], padding = [1, 1], dilation = [1, 1], groups = 1 : i64, operandSegmentSizes = array<i32: 1, 1, 0>} : (tensor<1x2x4x4xf32>, tensor<2x2x1x1xf32>) -> tensor<1x2x6x6xf32>
  %p = "gradcam.avg_pool2d"(%a) {kernel = [6, 6], stride = [6, 6], padding = [0, 0], dilation = [1, 1], count_include_pad = true} : (tensor<1x2x6x6xf32>) -> tensor<1x2x1x1xf32>
  %b = "gradcam.conv2d"(%x, %w) {stride = [1, 1], padding = [0, 0], dilation = [1, 1], groups = 1 : i64, operandSegmentSizes = array<i32: 1, 1, 0>} : (tensor<1x2x4x4xf32>, tensor<2x2x1x1xf32>) -> tensor<1x2x4x4xf32>
  %q = "gradcam.avg_pool2d"(%b) {kernel = [3, 3], stride = [3, 3], padding = [0, 0], dilation = [1, 1], count_include_pad = true} : (tensor<1x2x4x4xf32>) -> tensor<1x2x1x1xf32>
  %c = "gradcam.conv2d"(%x, %w) {stride = [1, 1], padding = [0, 0], dilation = [1, 1], groups = 1 : i64, operandSegmentSizes = array<i32: 1, 1, 0>} : (tensor<1x2x4x4xf32>, tensor<2x2x1x1xf32>) -> tensor<1x2x4x4xf32>
  %r = "gradcam.avg_pool2d"(%c) {kernel = [4, 4], stride = [4, 4], padding = [0, 0], dilation = [1, 1], count_include_pad = true} : (tensor<1x2x4x4xf32>) -> tensor<1x2x1x1xf32>
  return %p, %q, %c, %r : tensor<1x2x1x1xf32>, tensor<1x2x1x1xf32>, tensor<1x2x4x4xf32>, tensor<1x2x1x1xf32>
}

// -----

// The channels that are taken of a layer are rows of its weights; those of a layer with another reader stay.
// CHECK-LABEL: func.func @taken
// CHECK-DAG: dense<{{\[\[}}5.000000e+00, 6.000000e+00], [0.000000e+00, 0.000000e+00], [1.000000e+00, 2.000000e+00]]> : tensor<3x2xf32>
// CHECK-DAG: dense<[9.000000e+00, 0.000000e+00, 7.000000e+00]> : tensor<3xf32>
// CHECK: %[[Y:.+]] = "gradcam.linear"({{.*}} -> tensor<1x3xf32>
// CHECK-NEXT: %[[Z:.+]] = "gradcam.linear"
// CHECK-NEXT: %[[T:.+]] = "gradcam.take_channels"(%[[Z]])
// CHECK-NEXT: return %[[Y]], %[[Z]], %[[T]]
func.func @taken(%x: tensor<1x2xf32>) -> (tensor<1x3xf32>, tensor<1x3xf32>, tensor<1x1xf32>) {
  %w = arith.constant dense<[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]> : tensor<3x2xf32>
  %b = arith.constant dense<[7.0, 8.0, 9.0]> : tensor<3xf32>
  %0 = "gradcam.linear"(%x, %w, %b) {operandSegmentSizes = array<i32: 1, 1, 1>} : (tensor<1x2xf32>, tensor<3x2xf32>, tensor<3xf32>) -> tensor<1x3xf32>
  %1 = "gradcam.take_channels"(%0) {order = [2, -1, 0]} : (tensor<1x3xf32>) -> tensor<1x3xf32>
  %2 = "gradcam.linear"(%x, %w, %b) {operandSegmentSizes = array<i32: 1, 1, 1>} : (tensor<1x2xf32>, tensor<3x2xf32>, tensor<3xf32>) -> tensor<1x3xf32>
  %3 = "gradcam.take_channels"(%2) {order = [1]} : (tensor<1x3xf32>) -> tensor<1x1xf32>
  return %1, %2, %3 : tensor<1x3xf32>, tensor<1x3xf32>, tensor<1x1xf32>
}
