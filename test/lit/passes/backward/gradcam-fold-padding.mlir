// RUN: %gradcam_opt %s --gradcam-fold-padding --split-input-file | FileCheck %s

// A pad becomes the padding of a convolution and of an average pool that counts it, added to their own.

// CHECK-LABEL: func.func @windows
// CHECK-NOT: kernel = [1, 1]
// CHECK: "gradcam.conv2d"(%arg0, %arg1) {{.*}}padding = [1, 2, 2, 1]
// CHECK: "gradcam.avg_pool2d"(%arg0) {{.*}}kernel = [3, 3], padding = [0, 1, 1, 0]
func.func @windows(%x: tensor<1x4x6x6xf32>, %w: tensor<8x4x3x3xf32>) -> (tensor<1x8x7x7xf32>, tensor<1x4x5x5xf32>) {
  %p = "gradcam.avg_pool2d"(%x) {kernel = [1, 1], stride = [1, 1], padding = [0, 1, 1, 0], dilation = [1, 1], count_include_pad = true} : (tensor<1x4x6x6xf32>) -> tensor<1x4x7x7xf32>
  %y = "gradcam.conv2d"(%p, %w) {stride = [1, 1], padding = [1, 1], dilation = [1, 1], groups = 1 : i64, operandSegmentSizes = array<i32: 1, 1, 0>} : (tensor<1x4x7x7xf32>, tensor<8x4x3x3xf32>) -> tensor<1x8x7x7xf32>
  %z = "gradcam.avg_pool2d"(%p) {kernel = [3, 3], stride = [1, 1], padding = [0, 0], dilation = [1, 1], count_include_pad = true} : (tensor<1x4x7x7xf32>) -> tensor<1x4x5x5xf32>
  return %y, %z : tensor<1x8x7x7xf32>, tensor<1x4x5x5xf32>
}

// -----

// Of a map without negative numbers the maximum of a window with zeros is that of the window.

// CHECK-LABEL: func.func @maximum
// CHECK: [[R:%.+]] = "gradcam.relu"
// CHECK-NEXT: "gradcam.max_pool2d"([[R]]) {{.*}}padding = [0, 0, 1, 1]
func.func @maximum(%x: tensor<1x4x6x6xf32>) -> tensor<1x4x6x6xf32> {
  %r = "gradcam.relu"(%x) : (tensor<1x4x6x6xf32>) -> tensor<1x4x6x6xf32>
  %p = "gradcam.avg_pool2d"(%r) {kernel = [1, 1], stride = [1, 1], padding = [0, 0, 1, 1], dilation = [1, 1], count_include_pad = true} : (tensor<1x4x6x6xf32>) -> tensor<1x4x7x7xf32>
  %y = "gradcam.max_pool2d"(%p) {kernel = [2, 2], stride = [1, 1], padding = [0, 0], dilation = [1, 1]} : (tensor<1x4x7x7xf32>) -> tensor<1x4x6x6xf32>
  return %y : tensor<1x4x6x6xf32>
}

// -----

// A pad stays before a max-pool of any numbers, or one with a window over zeros alone, and before an average that would
// not count it.

// CHECK-LABEL: func.func @kept
// CHECK: [[P:%.+]] = "gradcam.avg_pool2d"(%arg0) {{.*}}kernel = [1, 1]
// CHECK: [[Q:%.+]] = "gradcam.avg_pool2d"({{.*}}) {{.*}}kernel = [1, 1]
// CHECK: "gradcam.max_pool2d"([[P]])
// CHECK: "gradcam.max_pool2d"([[Q]])
// CHECK: "gradcam.avg_pool2d"([[P]]) {{.*}}padding = [1, 1]
func.func @kept(%x: tensor<1x4x6x6xf32>) -> (tensor<1x4x6x6xf32>, tensor<1x4x4x4xf32>, tensor<1x4x6x6xf32>) {
  %p = "gradcam.avg_pool2d"(%x) {kernel = [1, 1], stride = [1, 1], padding = [0, 0, 1, 1], dilation = [1, 1], count_include_pad = true} : (tensor<1x4x6x6xf32>) -> tensor<1x4x7x7xf32>
  %r = "gradcam.relu"(%x) : (tensor<1x4x6x6xf32>) -> tensor<1x4x6x6xf32>
  %q = "gradcam.avg_pool2d"(%r) {kernel = [1, 1], stride = [1, 1], padding = [0, 0, 2, 2], dilation = [1, 1], count_include_pad = true} : (tensor<1x4x6x6xf32>) -> tensor<1x4x8x8xf32>
  %y = "gradcam.max_pool2d"(%p) {kernel = [2, 2], stride = [1, 1], padding = [0, 0], dilation = [1, 1]} : (tensor<1x4x7x7xf32>) -> tensor<1x4x6x6xf32>
  %z = "gradcam.max_pool2d"(%q) {kernel = [2, 2], stride = [2, 2], padding = [0, 0], dilation = [1, 1]} : (tensor<1x4x8x8xf32>) -> tensor<1x4x4x4xf32>
  %a = "gradcam.avg_pool2d"(%p) {kernel = [3, 3], stride = [1, 1], padding = [1, 1], dilation = [1, 1], count_include_pad = false} : (tensor<1x4x7x7xf32>) -> tensor<1x4x7x7xf32>
  %b = "gradcam.max_pool2d"(%a) {kernel = [2, 2], stride = [1, 1], padding = [0, 0], dilation = [1, 1]} : (tensor<1x4x7x7xf32>) -> tensor<1x4x6x6xf32>
  return %y, %z, %b : tensor<1x4x6x6xf32>, tensor<1x4x4x4xf32>, tensor<1x4x6x6xf32>
}
