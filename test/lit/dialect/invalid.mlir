// RUN: %gradcam_opt %s --split-input-file --verify-diagnostics

// What every verifier says.

func.func @conv2d(%0: tensor<1x4x6x6xf32>, %1: tensor<8x4x3x3xf32>) {
  // expected-error@+1 {{'gradcam.conv2d' op attribute 'stride' must hold integers}}
  %r = "gradcam.conv2d"(%0, %1) {stride = [1, 1.0], padding = [1, 1], dilation = [1, 1], groups = 1 : i64, operandSegmentSizes = array<i32: 1, 1, 0>} : (tensor<1x4x6x6xf32>, tensor<8x4x3x3xf32>) -> tensor<1x4x6x6xf32>
  return
}

// -----

func.func @conv2d(%0: tensor<4x6x6xf32>, %1: tensor<8x4x3x3xf32>) {
  // expected-error@+1 {{'gradcam.conv2d' op input must have 4 dimensions, got tensor<4x6x6xf32>}}
  %r = "gradcam.conv2d"(%0, %1) {stride = [1, 1], padding = [1, 1], dilation = [1, 1], groups = 1 : i64, operandSegmentSizes = array<i32: 1, 1, 0>} : (tensor<4x6x6xf32>, tensor<8x4x3x3xf32>) -> tensor<1x4x6x6xf32>
  return
}

// -----

func.func @conv2d(%0: tensor<1x4x6x6xf32>, %1: tensor<8x3x3xf32>) {
  // expected-error@+1 {{'gradcam.conv2d' op weight must have 4 dimensions, got tensor<8x3x3xf32>}}
  %r = "gradcam.conv2d"(%0, %1) {stride = [1, 1], padding = [1, 1], dilation = [1, 1], groups = 1 : i64, operandSegmentSizes = array<i32: 1, 1, 0>} : (tensor<1x4x6x6xf32>, tensor<8x3x3xf32>) -> tensor<1x4x6x6xf32>
  return
}

// -----

func.func @conv2d(%0: tensor<1x4x6x6xf32>, %1: tensor<8x2x3x3xf32>) {
  // expected-error@+1 {{'gradcam.conv2d' op weight expects 2 input channels (2 x 1 groups), input has 4}}
  %r = "gradcam.conv2d"(%0, %1) {stride = [1, 1], padding = [1, 1], dilation = [1, 1], groups = 1 : i64, operandSegmentSizes = array<i32: 1, 1, 0>} : (tensor<1x4x6x6xf32>, tensor<8x2x3x3xf32>) -> tensor<1x4x6x6xf32>
  return
}

// -----

func.func @conv2d(%0: tensor<1x4x6x6xf32>, %1: tensor<3x2x3x3xf32>) {
  // expected-error@+1 {{'gradcam.conv2d' op 3 output channels do not divide into 2 groups}}
  %r = "gradcam.conv2d"(%0, %1) {stride = [1, 1], padding = [1, 1], dilation = [1, 1], groups = 2 : i64, operandSegmentSizes = array<i32: 1, 1, 0>} : (tensor<1x4x6x6xf32>, tensor<3x2x3x3xf32>) -> tensor<1x3x6x6xf32>
  return
}

// -----

func.func @conv2d(%0: tensor<1x4x6x6xf32>, %1: tensor<8x4x3x3xf32>) {
  // expected-error@+1 {{'gradcam.conv2d' op attribute 'groups' must be at least 1, got 0}}
  %r = "gradcam.conv2d"(%0, %1) {stride = [1, 1], padding = [1, 1], dilation = [1, 1], groups = 0 : i64, operandSegmentSizes = array<i32: 1, 1, 0>} : (tensor<1x4x6x6xf32>, tensor<8x4x3x3xf32>) -> tensor<1x8x6x6xf32>
  return
}

// -----

func.func @conv2d(%0: tensor<1x4x6x6xf32>, %1: tensor<8x4x3x3xf32>) {
  // expected-error@+1 {{'gradcam.conv2d' op attribute 'stride' must have 2 entries, got [1]}}
  %r = "gradcam.conv2d"(%0, %1) {stride = [1], padding = [1, 1], dilation = [1, 1], groups = 1 : i64, operandSegmentSizes = array<i32: 1, 1, 0>} : (tensor<1x4x6x6xf32>, tensor<8x4x3x3xf32>) -> tensor<1x8x6x6xf32>
  return
}

// -----

func.func @conv2d(%0: tensor<1x4x6x6xf32>, %1: tensor<8x4x3x3xf32>) {
  // expected-error@+1 {{'gradcam.conv2d' op attribute 'stride' must be at least 1, got [0, 1]}}
  %r = "gradcam.conv2d"(%0, %1) {stride = [0, 1], padding = [1, 1], dilation = [1, 1], groups = 1 : i64, operandSegmentSizes = array<i32: 1, 1, 0>} : (tensor<1x4x6x6xf32>, tensor<8x4x3x3xf32>) -> tensor<1x8x6x6xf32>
  return
}

// -----

func.func @conv2d(%0: tensor<1x4x6x6xf32>, %1: tensor<8x4x3x3xf32>) {
  // expected-error@+1 {{'gradcam.conv2d' op attribute 'padding' must be at least 0, got [1, -1]}}
  %r = "gradcam.conv2d"(%0, %1) {stride = [1, 1], padding = [1, -1], dilation = [1, 1], groups = 1 : i64, operandSegmentSizes = array<i32: 1, 1, 0>} : (tensor<1x4x6x6xf32>, tensor<8x4x3x3xf32>) -> tensor<1x8x6x6xf32>
  return
}

// -----

func.func @conv2d(%0: tensor<1x4x6x6xf32>, %1: tensor<8x4x3x3xf32>) {
  // expected-error@+1 {{'gradcam.conv2d' op window of 9 is larger than the padded input of 8}}
  %r = "gradcam.conv2d"(%0, %1) {stride = [1, 1], padding = [1, 1], dilation = [4, 4], groups = 1 : i64, operandSegmentSizes = array<i32: 1, 1, 0>} : (tensor<1x4x6x6xf32>, tensor<8x4x3x3xf32>) -> tensor<1x8x6x6xf32>
  return
}

// -----

func.func @conv2d(%0: tensor<1x4x6x6xf32>, %1: tensor<8x4x3x3xf32>) {
  // expected-error@+1 {{'gradcam.conv2d' op output must have shape 1x8x6x6, got 1x8x6x5}}
  %r = "gradcam.conv2d"(%0, %1) {stride = [1, 1], padding = [1, 1], dilation = [1, 1], groups = 1 : i64, operandSegmentSizes = array<i32: 1, 1, 0>} : (tensor<1x4x6x6xf32>, tensor<8x4x3x3xf32>) -> tensor<1x8x6x5xf32>
  return
}

// -----

func.func @conv2d(%0: tensor<1x4x6x6xf32>, %1: tensor<8x4x3x3xf32>, %2: tensor<4xf32>) {
  // expected-error@+1 {{'gradcam.conv2d' op bias must have shape 8, got tensor<4xf32>}}
  %r = "gradcam.conv2d"(%0, %1, %2) {stride = [1, 1], padding = [1, 1], dilation = [1, 1], groups = 1 : i64, operandSegmentSizes = array<i32: 1, 1, 1>} : (tensor<1x4x6x6xf32>, tensor<8x4x3x3xf32>, tensor<4xf32>) -> tensor<1x8x6x6xf32>
  return
}

// -----

func.func @conv2d(%0: tensor<1x4x6x6xf64>, %1: tensor<8x4x3x3xf32>) {
  // expected-error@+1 {{'gradcam.conv2d' op element type must be f32, an integer or !quant.uniform, got f64}}
  %r = "gradcam.conv2d"(%0, %1) {stride = [1, 1], padding = [1, 1], dilation = [1, 1], groups = 1 : i64, operandSegmentSizes = array<i32: 1, 1, 0>} : (tensor<1x4x6x6xf64>, tensor<8x4x3x3xf32>) -> tensor<1x8x6x6xf32>
  return
}

// -----

func.func @linear(%0: tensor<1x8xf32>, %1: tensor<3x9xf32>) {
  // expected-error@+1 {{'gradcam.linear' op weight expects 9 features, input has 8}}
  %r = "gradcam.linear"(%0, %1) {operandSegmentSizes = array<i32: 1, 1, 0>} : (tensor<1x8xf32>, tensor<3x9xf32>) -> tensor<1x3xf32>
  return
}

// -----

func.func @linear(%0: tensor<1x8xf32>, %1: tensor<3x8xf32>, %2: tensor<2xf32>) {
  // expected-error@+1 {{'gradcam.linear' op bias must have shape 3, got tensor<2xf32>}}
  %r = "gradcam.linear"(%0, %1, %2) {operandSegmentSizes = array<i32: 1, 1, 1>} : (tensor<1x8xf32>, tensor<3x8xf32>, tensor<2xf32>) -> tensor<1x3xf32>
  return
}

// -----

func.func @linear(%0: tensor<1x8xf32>, %1: tensor<3x8xf32>) {
  // expected-error@+1 {{'gradcam.linear' op result must have shape 1x3, got tensor<1x4xf32>}}
  %r = "gradcam.linear"(%0, %1) {operandSegmentSizes = array<i32: 1, 1, 0>} : (tensor<1x8xf32>, tensor<3x8xf32>) -> tensor<1x4xf32>
  return
}

// -----

func.func @relu(%0: tensor<1x?x6x6xf32>) {
  // expected-error@+1 {{'gradcam.relu' op needs a static shape, got tensor<1x?x6x6xf32>; export the model without dynamic shapes}}
  %r = "gradcam.relu"(%0) : (tensor<1x?x6x6xf32>) -> tensor<1x?x6x6xf32>
  return
}

// -----

func.func @relu(%0: f32) {
  // expected-error@+1 {{'gradcam.relu' op works on ranked tensors, got f32}}
  %r = "gradcam.relu"(%0) : (f32) -> f32
  return
}

// -----

func.func @relu(%0: tensor<1x4x6x6xf32>) {
  // expected-error@+1 {{'gradcam.relu' op result must have shape 1x4x6x6, got tensor<1x4x6x5xf32>}}
  %r = "gradcam.relu"(%0) : (tensor<1x4x6x6xf32>) -> tensor<1x4x6x5xf32>
  return
}

// -----

func.func @clamp(%0: tensor<1x4x6x6xf32>) {
  // expected-error@+1 {{'gradcam.clamp' op lower bound 6.0 must be less than upper bound 0.0}}
  %r = "gradcam.clamp"(%0) {lo = 6.0 : f64, hi = 0.0 : f64} : (tensor<1x4x6x6xf32>) -> tensor<1x4x6x6xf32>
  return
}

// -----

func.func @hardtanh(%0: tensor<1x4x6x6xf32>) {
  // expected-error@+1 {{'gradcam.hardtanh' op lower bound 6.0 must be less than upper bound 0.0}}
  %r = "gradcam.hardtanh"(%0) {lo = 6.0 : f64, hi = 0.0 : f64} : (tensor<1x4x6x6xf32>) -> tensor<1x4x6x6xf32>
  return
}

// -----

func.func @clamp(%0: tensor<1x4x6x6xf32>) {
  // expected-error@+1 {{'gradcam.clamp' op has missing operands or attributes}}
  %r = "gradcam.clamp"(%0) {lo = 0.0 : f64} : (tensor<1x4x6x6xf32>) -> tensor<1x4x6x6xf32>
  return
}

// -----

func.func @leaky_relu(%0: tensor<1x4x6x6xf32>) {
  // expected-error@+1 {{'gradcam.leaky_relu' op attribute 'slope' must be positive; with a slope of 0 it is gradcam.relu}}
  %r = "gradcam.leaky_relu"(%0) {slope = 0.0 : f64} : (tensor<1x4x6x6xf32>) -> tensor<1x4x6x6xf32>
  return
}

// -----

func.func @leaky_relu(%0: tensor<1x4x6x6xf32>) {
  // expected-error@+1 {{'gradcam.leaky_relu' op attribute 'slope' must be at least 0 and less than 1, got 1.0}}
  %r = "gradcam.leaky_relu"(%0) {slope = 1.0 : f64} : (tensor<1x4x6x6xf32>) -> tensor<1x4x6x6xf32>
  return
}

// -----

func.func @leaky_relu(%0: tensor<1x4x6x6xf32>) {
  // expected-error@+1 {{'gradcam.leaky_relu' op attribute 'slope' must be at least 0 and less than 1, got -0.1}}
  %r = "gradcam.leaky_relu"(%0) {slope = -0.1 : f64} : (tensor<1x4x6x6xf32>) -> tensor<1x4x6x6xf32>
  return
}

// -----

func.func @leaky_relu(%0: tensor<1x4x6x6xf32>) {
  // expected-error@+1 {{'gradcam.leaky_relu' op result must have shape 1x4x6x6, got tensor<1x4x6x5xf32>}}
  %r = "gradcam.leaky_relu"(%0) {slope = 0.1 : f64} : (tensor<1x4x6x6xf32>) -> tensor<1x4x6x5xf32>
  return
}

// -----

func.func @add(%0: tensor<1x4x6x6xf32>) {
  // expected-error@+1 {{'gradcam.add' op has missing operands or attributes}}
  %r = "gradcam.add"(%0) : (tensor<1x4x6x6xf32>) -> tensor<1x4x6x6xf32>
  return
}

// -----

func.func @add(%0: tensor<1x4x6x6xf32>, %1: tensor<1x4x1x1xf32>) {
  // expected-error@+1 {{'gradcam.add' op operands must have equal shapes, got tensor<1x4x6x6xf32> and tensor<1x4x1x1xf32>; broadcasting is not lowered}}
  %r = "gradcam.add"(%0, %1) : (tensor<1x4x6x6xf32>, tensor<1x4x1x1xf32>) -> tensor<1x4x6x6xf32>
  return
}

// -----

func.func @max_pool2d(%0: tensor<1x4x6x6xf32>) {
  // expected-error@+1 {{'gradcam.max_pool2d' op padding 2 must be at most half the kernel 3}}
  %r = "gradcam.max_pool2d"(%0) {kernel = [3, 3], stride = [2, 2], padding = [2, 2], dilation = [1, 1]} : (tensor<1x4x6x6xf32>) -> tensor<1x4x4x4xf32>
  return
}

// -----

func.func @max_pool2d(%0: tensor<1x4x6x6xf32>) {
  // expected-error@+1 {{'gradcam.max_pool2d' op output must have shape 1x4x3x3, got 1x4x4x4}}
  %r = "gradcam.max_pool2d"(%0) {kernel = [3, 3], stride = [2, 2], padding = [1, 1], dilation = [1, 1]} : (tensor<1x4x6x6xf32>) -> tensor<1x4x4x4xf32>
  return
}

// -----

func.func @max_pool2d(%0: tensor<1x4x6x6xf32>) {
  // expected-error@+1 {{'gradcam.max_pool2d' op attribute 'kernel' must have 2 entries, got [3]}}
  %r = "gradcam.max_pool2d"(%0) {kernel = [3], stride = [2, 2], padding = [1, 1], dilation = [1, 1]} : (tensor<1x4x6x6xf32>) -> tensor<1x4x3x3xf32>
  return
}

// -----

func.func @avg_pool2d(%0: tensor<1x4x6x6xf32>) {
  // expected-error@+1 {{'gradcam.avg_pool2d' op an average pool has no dilation}}
  %r = "gradcam.avg_pool2d"(%0) {kernel = [3, 3], stride = [2, 2], padding = [1, 1], dilation = [2, 2], count_include_pad = true} : (tensor<1x4x6x6xf32>) -> tensor<1x4x2x2xf32>
  return
}

// -----

func.func @avg_pool2d(%0: tensor<1x4x6x6xf32>) {
  // expected-error@+1 {{'gradcam.avg_pool2d' op output must have shape 1x4x3x3, got 1x4x2x2}}
  %r = "gradcam.avg_pool2d"(%0) {kernel = [3, 3], stride = [2, 2], padding = [1, 1], dilation = [1, 1], count_include_pad = true} : (tensor<1x4x6x6xf32>) -> tensor<1x4x2x2xf32>
  return
}

// -----

func.func @batch_norm(%0: tensor<1x4x6x6xf32>, %1: tensor<4xf32>, %2: tensor<4xf32>, %3: tensor<5xf32>, %4: tensor<4xf32>) {
  // expected-error@+1 {{'gradcam.batch_norm' op mean must have shape 4, got tensor<5xf32>}}
  %r = "gradcam.batch_norm"(%0, %1, %2, %3, %4) {eps = 1.0e-5 : f64} : (tensor<1x4x6x6xf32>, tensor<4xf32>, tensor<4xf32>, tensor<5xf32>, tensor<4xf32>) -> tensor<1x4x6x6xf32>
  return
}

// -----

func.func @flatten(%0: tensor<1x4x6x6xf32>) {
  // expected-error@+1 {{'gradcam.flatten' op result must have shape 1x144, got tensor<1x143xf32>}}
  %r = "gradcam.flatten"(%0) : (tensor<1x4x6x6xf32>) -> tensor<1x143xf32>
  return
}

// -----

func.func @concat(%0: tensor<1x4x6x6xf32>, %1: tensor<1x4x6x6xf32>) {
  // expected-error@+1 {{'gradcam.concat' op result must have shape 1x8x6x6, got tensor<1x9x6x6xf32>}}
  %r = "gradcam.concat"(%0, %1) : (tensor<1x4x6x6xf32>, tensor<1x4x6x6xf32>) -> tensor<1x9x6x6xf32>
  return
}

// -----

func.func @concat_rank(%0: tensor<1x4x6xf32>) {
  // expected-error@+1 {{'gradcam.concat' op first input must have 2 or 4 dimensions, got tensor<1x4x6xf32>}}
  %r = "gradcam.concat"(%0, %0) : (tensor<1x4x6xf32>, tensor<1x4x6xf32>) -> tensor<1x8x6xf32>
  return
}

// -----

func.func @concat_kinds(%0: tensor<1x4x6x6xf32>, %1: tensor<1x2xf32>) {
  // expected-error@+1 {{'gradcam.concat' op inputs must be two feature maps or two vectors}}
  %r = "gradcam.concat"(%0, %1) : (tensor<1x4x6x6xf32>, tensor<1x2xf32>) -> tensor<1x6x6x6xf32>
  return
}

// -----

func.func @concat_sizes(%0: tensor<1x4x6x6xf32>, %1: tensor<1x2x6x5xf32>) {
  // expected-error@+1 {{'gradcam.concat' op inputs must agree in height and width, got 6x6 and 6x5}}
  %r = "gradcam.concat"(%0, %1) : (tensor<1x4x6x6xf32>, tensor<1x2x6x5xf32>) -> tensor<1x6x6x6xf32>
  return
}

// -----

func.func @linear_adjoint(%0: tensor<1x4xf32>, %1: tensor<3x8xf32>) {
  // expected-error@+1 {{'gradcam.linear_adjoint' op gradient must be 1x3, got tensor<1x4xf32>}}
  %r = "gradcam.linear_adjoint"(%0, %1) : (tensor<1x4xf32>, tensor<3x8xf32>) -> tensor<1x8xf32>
  return
}

// -----

func.func @linear_adjoint(%0: tensor<1x3xf32>, %1: tensor<3x8xf32>) {
  // expected-error@+1 {{'gradcam.linear_adjoint' op result must have shape 1x8, got tensor<1x9xf32>}}
  %r = "gradcam.linear_adjoint"(%0, %1) : (tensor<1x3xf32>, tensor<3x8xf32>) -> tensor<1x9xf32>
  return
}

// -----

func.func @conv2d_adjoint(%0: tensor<1x8x6x6xf32>, %1: tensor<8x4x3x3xf32>) {
  // expected-error@+1 {{'gradcam.conv2d_adjoint' op weight expects 4 input channels (4 x 1 groups), input has 3}}
  %r = "gradcam.conv2d_adjoint"(%0, %1) {stride = [1, 1], padding = [1, 1], dilation = [1, 1], groups = 1 : i64} : (tensor<1x8x6x6xf32>, tensor<8x4x3x3xf32>) -> tensor<1x3x6x6xf32>
  return
}

// -----

func.func @conv2d_adjoint(%0: tensor<1x8x6x6xf32>, %1: tensor<8x4x3x3xf32>) {
  // expected-error@+1 {{'gradcam.conv2d_adjoint' op output must have shape 1x8x7x6, got 1x8x6x6}}
  %r = "gradcam.conv2d_adjoint"(%0, %1) {stride = [1, 1], padding = [1, 1], dilation = [1, 1], groups = 1 : i64} : (tensor<1x8x6x6xf32>, tensor<8x4x3x3xf32>) -> tensor<1x4x7x6xf32>
  return
}

// -----

func.func @activation_adjoint(%0: tensor<1x4x6x6xf32>, %1: tensor<1x4x6x5xf32>) {
  // expected-error@+1 {{'gradcam.activation_adjoint' op gradient and forward output must have equal shapes}}
  %r = "gradcam.activation_adjoint"(%0, %1) {closed = false, lo = 0.0 : f64, hi = 6.0 : f64, slope = 0.0 : f64} : (tensor<1x4x6x6xf32>, tensor<1x4x6x5xf32>) -> tensor<1x4x6x6xf32>
  return
}

// -----

func.func @max_pool2d_adjoint(%0: tensor<1x4x4x4xf32>, %1: tensor<1x4x6x6xf32>) {
  // expected-error@+1 {{'gradcam.max_pool2d_adjoint' op output must have shape 1x4x3x3, got 1x4x4x4}}
  %r = "gradcam.max_pool2d_adjoint"(%0, %1) {kernel = [3, 3], stride = [2, 2], padding = [1, 1], dilation = [1, 1]} : (tensor<1x4x4x4xf32>, tensor<1x4x6x6xf32>) -> tensor<1x4x6x6xf32>
  return
}

// -----

func.func @max_pool2d_index(%0: tensor<1x4x6x6xf32>) {
  // expected-error@+1 {{'gradcam.max_pool2d_index' op output must have shape 1x4x3x3, got 1x4x4x4}}
  %r = "gradcam.max_pool2d_index"(%0) {kernel = [3, 3], stride = [2, 2], padding = [1, 1], dilation = [1, 1]} : (tensor<1x4x6x6xf32>) -> tensor<1x4x4x4xi8>
  return
}

// -----

func.func @max_pool2d_index(%0: tensor<1x4x6x6xf32>) {
  // expected-error@+1 {{'gradcam.max_pool2d_index' op an index must have i8 elements, got tensor<1x4x3x3xi32>}}
  %r = "gradcam.max_pool2d_index"(%0) {kernel = [3, 3], stride = [2, 2], padding = [1, 1], dilation = [1, 1]} : (tensor<1x4x6x6xf32>) -> tensor<1x4x3x3xi32>
  return
}

// -----

func.func @max_pool2d_index(%0: tensor<1x4x20x20xf32>) {
  // expected-error@+1 {{'gradcam.max_pool2d_index' op an index of i8 can tell 256 taps apart, the kernel has 272}}
  %r = "gradcam.max_pool2d_index"(%0) {kernel = [17, 16], stride = [1, 1], padding = [0, 0], dilation = [1, 1]} : (tensor<1x4x20x20xf32>) -> tensor<1x4x4x5xi8>
  return
}

// -----

func.func @max_unpool2d(%0: tensor<1x4x4x4xf32>, %1: tensor<1x4x4x4xi8>) {
  // expected-error@+1 {{'gradcam.max_unpool2d' op output must have shape 1x4x3x3, got 1x4x4x4}}
  %r = "gradcam.max_unpool2d"(%0, %1) {kernel = [3, 3], stride = [2, 2], padding = [1, 1], dilation = [1, 1]} : (tensor<1x4x4x4xf32>, tensor<1x4x4x4xi8>) -> tensor<1x4x6x6xf32>
  return
}

// -----

func.func @max_unpool2d(%0: tensor<1x4x3x3xf32>, %1: tensor<1x4x3x3xi1>) {
  // expected-error@+1 {{'gradcam.max_unpool2d' op an index must have i8 elements, got tensor<1x4x3x3xi1>}}
  %r = "gradcam.max_unpool2d"(%0, %1) {kernel = [3, 3], stride = [2, 2], padding = [1, 1], dilation = [1, 1]} : (tensor<1x4x3x3xf32>, tensor<1x4x3x3xi1>) -> tensor<1x4x6x6xf32>
  return
}

// -----

func.func @max_unpool2d(%0: tensor<1x4x3x3xf32>, %1: tensor<1x4x3x2xi8>) {
  // expected-error@+1 {{'gradcam.max_unpool2d' op gradient and index must have equal shapes}}
  %r = "gradcam.max_unpool2d"(%0, %1) {kernel = [3, 3], stride = [2, 2], padding = [1, 1], dilation = [1, 1]} : (tensor<1x4x3x3xf32>, tensor<1x4x3x2xi8>) -> tensor<1x4x6x6xf32>
  return
}

// -----

func.func @avg_pool2d_adjoint(%0: tensor<1x4x4x4xf32>) {
  // expected-error@+1 {{'gradcam.avg_pool2d_adjoint' op output must have shape 1x4x3x3, got 1x4x4x4}}
  %r = "gradcam.avg_pool2d_adjoint"(%0) {kernel = [3, 3], stride = [2, 2], padding = [1, 1], dilation = [1, 1], count_include_pad = true} : (tensor<1x4x4x4xf32>) -> tensor<1x4x6x6xf32>
  return
}

// -----

func.func @batch_norm_adjoint(%0: tensor<1x4x6x6xf32>, %1: tensor<4xf32>, %2: tensor<3xf32>) {
  // expected-error@+1 {{'gradcam.batch_norm_adjoint' op gamma and var must have shape 4}}
  %r = "gradcam.batch_norm_adjoint"(%0, %1, %2) {eps = 1.0e-5 : f64} : (tensor<1x4x6x6xf32>, tensor<4xf32>, tensor<3xf32>) -> tensor<1x4x6x6xf32>
  return
}

// -----

func.func @unflatten(%0: tensor<1x143xf32>) {
  // expected-error@+1 {{'gradcam.unflatten' op operand must be 1x144, got tensor<1x143xf32>}}
  %r = "gradcam.unflatten"(%0) : (tensor<1x143xf32>) -> tensor<1x4x6x6xf32>
  return
}

// -----

func.func @take_channels(%0: tensor<1x4x6x6xf32>) {
  // expected-error@+1 {{'gradcam.take_channels' op attribute 'order' must hold -1 or numbers below 4}}
  %r = "gradcam.take_channels"(%0) {order = [3, 4]} : (tensor<1x4x6x6xf32>) -> tensor<1x2x6x6xf32>
  return
}

// -----

func.func @take_channels_twice(%0: tensor<1x4x6x6xf32>) {
  // expected-error@+1 {{'gradcam.take_channels' op attribute 'order' must not take a channel twice}}
  %r = "gradcam.take_channels"(%0) {order = [3, 1, 3]} : (tensor<1x4x6x6xf32>) -> tensor<1x3x6x6xf32>
  return
}

// -----

func.func @take_channels_shape(%0: tensor<1x4x6x6xf32>) {
  // expected-error@+1 {{'gradcam.take_channels' op result must have shape 1x2x6x6, got tensor<1x3x6x6xf32>}}
  %r = "gradcam.take_channels"(%0) {order = [3, 1]} : (tensor<1x4x6x6xf32>) -> tensor<1x3x6x6xf32>
  return
}

// -----

func.func @target(%0: tensor<1x8xf32>) {
  // expected-error@+1 {{'gradcam.target' op target feature map must have 4 dimensions, got tensor<1x8xf32>}}
  %r = "gradcam.target"(%0) {path = "fc"} : (tensor<1x8xf32>) -> tensor<1x8xf32>
  return
}

// -----

func.func @explain(%0: tensor<1x3xf32>, %1: tensor<1x4x6x6xf32>, %2: tensor<1xi32>) {
  // expected-error@+1 {{'gradcam.explain' op cannot be derived: unknown method 'lime'; choose one of gradcam, hirescam, xgradcam, layercam, gradcam-elementwise, gradcam++}}
  %r = "gradcam.explain"(%0, %1, %2) {method = "lime", relu = true, normalize = true, eps = 1.0e-7 : f64} : (tensor<1x3xf32>, tensor<1x4x6x6xf32>, tensor<1xi32>) -> tensor<1x6x6xf32>
  return
}

// -----

func.func @explain(%0: tensor<1x3xf32>, %1: tensor<1x4x6x6xf32>, %2: tensor<2xi32>) {
  // expected-error@+1 {{'gradcam.explain' op class must be tensor<1xi32>, got tensor<2xi32>}}
  %r = "gradcam.explain"(%0, %1, %2) {method = "gradcam", relu = true, normalize = true, eps = 1.0e-7 : f64} : (tensor<1x3xf32>, tensor<1x4x6x6xf32>, tensor<2xi32>) -> tensor<1x6x6xf32>
  return
}

// -----

func.func @explain_scores(%0: tensor<1x3xf32>, %1: tensor<1x4x6x6xf32>, %2: tensor<1xi32>) {
  // expected-error@+1 {{'gradcam.explain' op cannot be derived: method 'scorecam' has no static form: its weights are class scores of masked images, one inference per channel}}
  %r = "gradcam.explain"(%0, %1, %2) {method = "scorecam", relu = true, normalize = true, eps = 1.0e-7 : f64} : (tensor<1x3xf32>, tensor<1x4x6x6xf32>, tensor<1xi32>) -> tensor<1x6x6xf32>
  return
}

// -----

func.func @explain_eps(%0: tensor<1x3xf32>, %1: tensor<1x4x6x6xf32>, %2: tensor<1xi32>) {
  // expected-error@+1 {{'gradcam.explain' op attribute 'eps' must be positive, got 0.0}}
  %r = "gradcam.explain"(%0, %1, %2) {method = "gradcam", relu = true, normalize = true, eps = 0.0 : f64} : (tensor<1x3xf32>, tensor<1x4x6x6xf32>, tensor<1xi32>) -> tensor<1x6x6xf32>
  return
}

// -----

func.func @xgradcam_weights(%0: tensor<1x4x6x6xf32>, %1: tensor<1x4x6x5xf32>) {
  // expected-error@+1 {{'gradcam.xgradcam_weights' op gradient and feature map must have equal shapes}}
  %r = "gradcam.xgradcam_weights"(%0, %1) {eps = 1.0e-7 : f64} : (tensor<1x4x6x6xf32>, tensor<1x4x6x5xf32>) -> tensor<1x4xf32>
  return
}

// -----

func.func @gradcam_plus_plus_weights(%0: tensor<1x4x6x6xf32>, %1: tensor<1x4x6x6xf32>) {
  // expected-error@+1 {{'gradcam.gradcam_plus_plus_weights' op attribute 'eps' must be positive, got -1.0}}
  %r = "gradcam.gradcam_plus_plus_weights"(%0, %1) {eps = -1.0 : f64} : (tensor<1x4x6x6xf32>, tensor<1x4x6x6xf32>) -> tensor<1x4xf32>
  return
}

// -----

func.func @mul(%0: tensor<1x4x6x6xf32>, %1: tensor<1x4x6x1xf32>) {
  // expected-error@+1 {{'gradcam.mul' op operands must have equal shapes, or the second one a number per channel, got tensor<1x4x6x6xf32> and tensor<1x4x6x1xf32>}}
  %r = "gradcam.mul"(%0, %1) : (tensor<1x4x6x6xf32>, tensor<1x4x6x1xf32>) -> tensor<1x4x6x6xf32>
  return
}

// -----

func.func @channel_sum(%0: tensor<1x4x6x6xf32>) {
  // expected-error@+1 {{'gradcam.channel_sum' op result must have shape 1x6x6, got tensor<1x4xf32>}}
  %r = "gradcam.channel_sum"(%0) : (tensor<1x4x6x6xf32>) -> tensor<1x4xf32>
  return
}

// -----

func.func @tap_sums(%0: tensor<1x4x6x6xf32>) {
  // expected-error@+1 {{'gradcam.tap_sums' op gradient must be 5x6 for this size, got tensor<1x4x6x6xf32>}}
  %r = "gradcam.tap_sums"(%0) {kernel = [3, 3], stride = [2, 2], padding = [1, 1], dilation = [1, 1], size = [10, 11]} : (tensor<1x4x6x6xf32>) -> tensor<1x4x3x3xf32>
  return
}

// -----

func.func @select_class(%0: tensor<1x3xf32>, %1: tensor<2xi32>) {
  // expected-error@+1 {{'gradcam.select_class' op requested class must be tensor<1xi32>, got tensor<2xi32>}}
  %r = "gradcam.select_class"(%0, %1) : (tensor<1x3xf32>, tensor<2xi32>) -> tensor<1xi32>
  return
}

// -----

func.func @next_class_of_nothing(%0: tensor<1x3xf32>) {
  // expected-error@+1 {{'gradcam.next_class' op needs at least one chosen class; the first one comes from gradcam.select_class}}
  %r = "gradcam.next_class"(%0) : (tensor<1x3xf32>) -> tensor<1xi32>
  return
}

// -----

func.func @next_class_shape(%0: tensor<1x3xf32>, %1: tensor<2xi32>) {
  // expected-error@+1 {{'gradcam.next_class' op a chosen class must be tensor<1xi32>, got tensor<2xi32>}}
  %r = "gradcam.next_class"(%0, %1) : (tensor<1x3xf32>, tensor<2xi32>) -> tensor<1xi32>
  return
}

// -----

func.func @next_class_of_all(%0: tensor<1x2xf32>, %1: tensor<1xi32>, %2: tensor<1xi32>) {
  // expected-error@+1 {{'gradcam.next_class' op leaves no class: 2 of 2 are chosen}}
  %r = "gradcam.next_class"(%0, %1, %2) : (tensor<1x2xf32>, tensor<1xi32>, tensor<1xi32>) -> tensor<1xi32>
  return
}

// -----

func.func @next_class_logits(%0: tensor<3xf32>, %1: tensor<1xi32>) {
  // expected-error@+1 {{'gradcam.next_class' op logits must have 2 dimensions, got tensor<3xf32>}}
  %r = "gradcam.next_class"(%0, %1) : (tensor<3xf32>, tensor<1xi32>) -> tensor<1xi32>
  return
}

// -----

func.func @next_class_result(%0: tensor<1x3xf32>, %1: tensor<1xi32>) {
  // expected-error@+1 {{'gradcam.next_class' op result must have shape 1, got tensor<2xi32>}}
  %r = "gradcam.next_class"(%0, %1) : (tensor<1x3xf32>, tensor<1xi32>) -> tensor<2xi32>
  return
}

// -----

func.func @one_hot(%0: tensor<2xi32>) {
  // expected-error@+1 {{'gradcam.one_hot' op class must be tensor<1xi32>, got tensor<2xi32>}}
  %r = "gradcam.one_hot"(%0) : (tensor<2xi32>) -> tensor<1x3xf32>
  return
}

// -----

func.func @class_row(%0: tensor<3x8xf32>, %1: tensor<1xi32>) {
  // expected-error@+1 {{'gradcam.class_row' op result must have shape 1x8, got tensor<1x7xf32>}}
  %r = "gradcam.class_row"(%0, %1) : (tensor<3x8xf32>, tensor<1xi32>) -> tensor<1x7xf32>
  return
}

// -----

func.func @channel_weights(%0: tensor<1x4x6x6xf32>) {
  // expected-error@+1 {{'gradcam.channel_weights' op result must have shape 1x4, got tensor<1x5xf32>}}
  %r = "gradcam.channel_weights"(%0) : (tensor<1x4x6x6xf32>) -> tensor<1x5xf32>
  return
}

// -----

func.func @weighted_sum(%0: tensor<1x5xf32>, %1: tensor<1x4x6x6xf32>) {
  // expected-error@+1 {{'gradcam.weighted_sum' op weights must be 1x4 or 1x4x6x6, got tensor<1x5xf32>}}
  %r = "gradcam.weighted_sum"(%0, %1) : (tensor<1x5xf32>, tensor<1x4x6x6xf32>) -> tensor<1x6x6xf32>
  return
}

// -----

func.func @pool_map(%0: tensor<1x7x6xf32>) {
  // expected-error@+1 {{'gradcam.pool_map' op a map of 7x6 has no block of 7x7}}
  %r = "gradcam.pool_map"(%0) {size = 7 : i64} : (tensor<1x7x6xf32>) -> tensor<1x1x1xf32>
  return
}

// -----

func.func @pool_map_size(%0: tensor<1x7x6xf32>) {
  // expected-error@+1 {{'gradcam.pool_map' op a map of 7x6 has no block of 0x0}}
  %r = "gradcam.pool_map"(%0) {size = 0 : i64} : (tensor<1x7x6xf32>) -> tensor<1x7x6xf32>
  return
}

// -----

func.func @pool_map_result(%0: tensor<1x7x6xf32>) {
  // expected-error@+1 {{'gradcam.pool_map' op result must have shape 1x3x3, got tensor<1x4x3xf32>}}
  %r = "gradcam.pool_map"(%0) {size = 2 : i64} : (tensor<1x7x6xf32>) -> tensor<1x4x3xf32>
  return
}

// -----

func.func @scale(%0: tensor<1x6x6xf32>) {
  // expected-error@+1 {{'gradcam.scale' op result must have shape 1x6x6, got tensor<1x6x5xf32>}}
  %r = "gradcam.scale"(%0) {factor = 0.5 : f64} : (tensor<1x6x6xf32>) -> tensor<1x6x5xf32>
  return
}

// -----

func.func @mask(%0: tensor<1x4x6x6xf32>) {
  // expected-error@+1 {{'gradcam.mask' op a mask must have i1 elements, got tensor<1x4x6x6xi8>}}
  %r = "gradcam.mask"(%0) {closed = false, lo = 0.0 : f64, hi = 6.0 : f64} : (tensor<1x4x6x6xf32>) -> tensor<1x4x6x6xi8>
  return
}

// -----

func.func @apply_mask(%0: tensor<1x4x6x6xf32>, %1: tensor<1x4x6x5xi1>) {
  // expected-error@+1 {{'gradcam.apply_mask' op gradient and mask must have equal shapes}}
  %r = "gradcam.apply_mask"(%0, %1) {slope = 0.0 : f64} : (tensor<1x4x6x6xf32>, tensor<1x4x6x5xi1>) -> tensor<1x4x6x6xf32>
  return
}

// -----

func.func @slope(%0: tensor<1x4x6x6xf32>, %1: tensor<1x4x6x6xi1>) {
  // expected-error@+1 {{'gradcam.apply_mask' op attribute 'slope' must be at least 0 and less than 1, got 1.0}}
  %r = "gradcam.apply_mask"(%0, %1) {slope = 1.0 : f64} : (tensor<1x4x6x6xf32>, tensor<1x4x6x6xi1>) -> tensor<1x4x6x6xf32>
  return
}

// -----

func.func @slope(%0: tensor<1x4x6x6xf32>) {
  // expected-error@+1 {{'gradcam.activation_adjoint' op attribute 'slope' must be at least 0 and less than 1, got -0.5}}
  %r = "gradcam.activation_adjoint"(%0, %0) {closed = false, lo = 0.0 : f64, hi = 6.0 : f64, slope = -0.5 : f64} : (tensor<1x4x6x6xf32>, tensor<1x4x6x6xf32>) -> tensor<1x4x6x6xf32>
  return
}

// -----

func.func @requantize(%0: tensor<1x4xf32>) {
  // expected-error@+1 {{'gradcam.requantize' op result must have shape 1x4, got tensor<1x5xf32>}}
  %r = "gradcam.requantize"(%0) : (tensor<1x4xf32>) -> tensor<1x5xf32>
  return
}

// -----

func.func @unfold2d(%0: tensor<1x3x6x6xf32>) {
  // expected-error@+1 {{'gradcam.unfold2d' op 5 of 3 channels cannot be taken}}
  %r = "gradcam.unfold2d"(%0) {kernel = [1, 2], stride = [1, 1], low = [0, 0], high = [0, 0], dilation = [1, 1], taken = 5} : (tensor<1x3x6x6xf32>) -> tensor<1x10x6x5xf32>
  return
}

// -----

func.func @unfold2d(%0: tensor<3x6x6xf32>) {
  // expected-error@+1 {{'gradcam.unfold2d' op input must have 4 dimensions, got tensor<3x6x6xf32>}}
  %r = "gradcam.unfold2d"(%0) {kernel = [1, 2], stride = [1, 1], low = [0, 0], high = [0, 0], dilation = [1, 1]} : (tensor<3x6x6xf32>) -> tensor<1x8x6x5xf32>
  return
}

// -----

// A tap takes a power of two of channels.
func.func @unfold2d(%0: tensor<1x3x6x6xf32>) {
  // expected-error@+1 {{'gradcam.unfold2d' op result must have shape 1x8x6x5, got tensor<1x6x6x5xf32>}}
  %r = "gradcam.unfold2d"(%0) {kernel = [1, 2], stride = [1, 1], low = [0, 0], high = [0, 0], dilation = [1, 1]} : (tensor<1x3x6x6xf32>) -> tensor<1x6x6x5xf32>
  return
}

// -----

func.func @unfold2d(%0: tensor<1x3x6x6xf32>) {
  // expected-error@+1 {{'gradcam.unfold2d' op window of 9 is larger than the padded input of 8}}
  %r = "gradcam.unfold2d"(%0) {kernel = [1, 5], stride = [1, 1], low = [0, 1], high = [0, 1], dilation = [1, 2]} : (tensor<1x3x6x6xf32>) -> tensor<1x20x6x1xf32>
  return
}

// -----

func.func @unfold2d(%0: tensor<1x3x6x6xf32>) {
  // expected-error@+1 {{'gradcam.unfold2d' op attribute 'stride' must be at least 1, got [1, 0]}}
  %r = "gradcam.unfold2d"(%0) {kernel = [1, 2], stride = [1, 0], low = [0, 0], high = [0, 0], dilation = [1, 1]} : (tensor<1x3x6x6xf32>) -> tensor<1x8x6x5xf32>
  return
}

// -----

func.func @unfold2d(%0: tensor<1x3x6x6xf32>) {
  // expected-error@+1 {{'gradcam.unfold2d' op attribute 'high' must have 2 entries, got [0]}}
  %r = "gradcam.unfold2d"(%0) {kernel = [1, 2], stride = [1, 1], low = [0, 0], high = [0], dilation = [1, 1]} : (tensor<1x3x6x6xf32>) -> tensor<1x8x6x5xf32>
  return
}

// -----

func.func @fold2d(%0: tensor<8x3x6xf32>) {
  // expected-error@+1 {{'gradcam.fold2d' op input must have 4 dimensions, got tensor<8x3x6xf32>}}
  %r = "gradcam.fold2d"(%0) {kernel = [2, 1]} : (tensor<8x3x6xf32>) -> tensor<1x3x6x6xf32>
  return
}

// -----

func.func @fold2d(%0: tensor<1x6x3x6xf32>) {
  // expected-error@+1 {{'gradcam.fold2d' op 8 channels hold 2x1 pixels of 3, got 6}}
  %r = "gradcam.fold2d"(%0) {kernel = [2, 1]} : (tensor<1x6x3x6xf32>) -> tensor<1x3x6x6xf32>
  return
}

// -----

func.func @fold2d(%0: tensor<1x8x3x6xf32>) {
  // expected-error@+1 {{'gradcam.fold2d' op result must have shape 1x3x6x6, got tensor<1x3x3x12xf32>}}
  %r = "gradcam.fold2d"(%0) {kernel = [2, 1]} : (tensor<1x8x3x6xf32>) -> tensor<1x3x3x12xf32>
  return
}

// -----

func.func @fold2d(%0: tensor<1x8x3x6xf32>) {
  // expected-error@+1 {{'gradcam.fold2d' op attribute 'kernel' must be at least 1, got [0, 1]}}
  %r = "gradcam.fold2d"(%0) {kernel = [0, 1]} : (tensor<1x8x3x6xf32>) -> tensor<1x3x6x6xf32>
  return
}

// -----

func.func @prelu(%0: tensor<1x4x6x6xf32>, %1: tensor<3xf32>) {
  // expected-error@+1 {{'gradcam.prelu' op slopes must have shape 4, got tensor<3xf32>}}
  %r = "gradcam.prelu"(%0, %1) : (tensor<1x4x6x6xf32>, tensor<3xf32>) -> tensor<1x4x6x6xf32>
  return
}

// -----

func.func @prelu(%0: tensor<1x4x6x6xf32>, %1: tensor<4xf32>) {
  // expected-error@+1 {{'gradcam.prelu' op result must have shape 1x4x6x6, got tensor<1x4x6x5xf32>}}
  %r = "gradcam.prelu"(%0, %1) : (tensor<1x4x6x6xf32>, tensor<4xf32>) -> tensor<1x4x6x5xf32>
  return
}

// -----

func.func @prelu_slope(%0: tensor<1x4x6x6xf32>, %1: tensor<1x4xf32>) {
  // expected-error@+1 {{'gradcam.prelu_slope' op slopes must have shape 4, got tensor<1x4xf32>}}
  %r = "gradcam.prelu_slope"(%0, %1) : (tensor<1x4x6x6xf32>, tensor<1x4xf32>) -> tensor<1x4x6x6xf32>
  return
}

// -----

func.func @hard_sigmoid(%0: tensor<1x4x6x6xf32>) {
  // expected-error@+1 {{'gradcam.hard_sigmoid' op result must have shape 1x4x6x6, got tensor<1x4x6x5xf32>}}
  %r = "gradcam.hard_sigmoid"(%0) : (tensor<1x4x6x6xf32>) -> tensor<1x4x6x5xf32>
  return
}

// -----

func.func @hard_swish(%0: tensor<1x4x6x6xf32>) {
  // expected-error@+1 {{'gradcam.hard_swish' op result must have shape 1x4x6x6, got tensor<1x4x6x5xf32>}}
  %r = "gradcam.hard_swish"(%0) : (tensor<1x4x6x6xf32>) -> tensor<1x4x6x5xf32>
  return
}

// -----

func.func @hard_swish_slope(%0: tensor<1x4x6x6xf32>) {
  // expected-error@+1 {{'gradcam.hard_swish_slope' op result must have shape 1x4x6x6, got tensor<1x4x6x5xf32>}}
  %r = "gradcam.hard_swish_slope"(%0) : (tensor<1x4x6x6xf32>) -> tensor<1x4x6x5xf32>
  return
}

// -----

func.func @function(%0: tensor<1x4x6x6xf32>) {
  // expected-error@+1 {{'gradcam.function' op attribute 'function' must be one of gelu, gelu_tanh, mish, sigmoid, silu, tanh, got 'swish'}}
  %r = "gradcam.function"(%0) {function = "swish"} : (tensor<1x4x6x6xf32>) -> tensor<1x4x6x6xf32>
  return
}

// -----

func.func @function(%0: tensor<1x4x6x6xf32>) {
  // expected-error@+1 {{'gradcam.function' op result must have shape 1x4x6x6, got tensor<1x4x6x5xf32>}}
  %r = "gradcam.function"(%0) {function = "mish"} : (tensor<1x4x6x6xf32>) -> tensor<1x4x6x5xf32>
  return
}

// -----

func.func @function_slope(%0: tensor<1x4x6x6xf32>) {
  // expected-error@+1 {{'gradcam.function_slope' op attribute 'function' must be one of gelu, gelu_tanh, mish, sigmoid, silu, tanh, got 'swish'}}
  %r = "gradcam.function_slope"(%0) {function = "swish"} : (tensor<1x4x6x6xf32>) -> tensor<1x4x6x6xf32>
  return
}

// -----

func.func @function_slope(%0: tensor<1x4x6x6xf32>) {
  // expected-error@+1 {{'gradcam.function_slope' op result must have shape 1x4x6x6, got tensor<1x4x6x5xf32>}}
  %r = "gradcam.function_slope"(%0) {function = "mish"} : (tensor<1x4x6x6xf32>) -> tensor<1x4x6x5xf32>
  return
}

// -----

func.func @mul(%0: tensor<1x4x1x1xf32>, %1: tensor<1x4x6x6xf32>) {
  // expected-error@+1 {{'gradcam.mul' op operands must have equal shapes, or the second one a number per channel, got tensor<1x4x1x1xf32> and tensor<1x4x6x6xf32>}}
  %r = "gradcam.mul"(%0, %1) : (tensor<1x4x1x1xf32>, tensor<1x4x6x6xf32>) -> tensor<1x4x6x6xf32>
  return
}

// -----

func.func @mul(%0: tensor<1x4x6x6xf32>, %1: tensor<1x4xf32>) {
  // expected-error@+1 {{'gradcam.mul' op result must have shape 1x4x6x6, got tensor<1x4xf32>}}
  %r = "gradcam.mul"(%0, %1) : (tensor<1x4x6x6xf32>, tensor<1x4xf32>) -> tensor<1x4xf32>
  return
}

// -----

func.func @product_sums(%0: tensor<1x4x6x6xf32>, %1: tensor<1x4x1x1xf32>) {
  // expected-error@+1 {{'gradcam.product_sums' op operands must have equal shapes, got tensor<1x4x6x6xf32> and tensor<1x4x1x1xf32>}}
  %r = "gradcam.product_sums"(%0, %1) : (tensor<1x4x6x6xf32>, tensor<1x4x1x1xf32>) -> tensor<1x4x1x1xf32>
  return
}

// -----

func.func @product_sums(%0: tensor<1x4x6x6xf32>, %1: tensor<1x4x6x6xf32>) {
  // expected-error@+1 {{'gradcam.product_sums' op result must have shape 1x4x1x1, got tensor<1x4x6x6xf32>}}
  %r = "gradcam.product_sums"(%0, %1) : (tensor<1x4x6x6xf32>, tensor<1x4x6x6xf32>) -> tensor<1x4x6x6xf32>
  return
}

// -----

func.func @product_sums(%0: tensor<1x4xf32>, %1: tensor<1x4xf32>) {
  // expected-error@+1 {{'gradcam.product_sums' op first operand must have 4 dimensions, got tensor<1x4xf32>}}
  %r = "gradcam.product_sums"(%0, %1) : (tensor<1x4xf32>, tensor<1x4xf32>) -> tensor<1x4xf32>
  return
}

// -----

func.func @upsample2d(%0: tensor<1x4x3x2xf32>) {
  // expected-error@+1 {{'gradcam.upsample2d' op the larger map must have shape 1x4x6x6, got 1x4x6x4}}
  %r = "gradcam.upsample2d"(%0) {kernel = [2, 3]} : (tensor<1x4x3x2xf32>) -> tensor<1x4x6x4xf32>
  return
}

// -----

func.func @upsample2d(%0: tensor<1x4x3x2xf32>) {
  // expected-error@+1 {{'gradcam.upsample2d' op attribute 'kernel' must be at least 1, got [0, 1]}}
  %r = "gradcam.upsample2d"(%0) {kernel = [0, 1]} : (tensor<1x4x3x2xf32>) -> tensor<1x4x3x2xf32>
  return
}

// -----

func.func @upsample2d(%0: tensor<1x4xf32>) {
  // expected-error@+1 {{'gradcam.upsample2d' op the smaller map must have 4 dimensions, got tensor<1x4xf32>}}
  %r = "gradcam.upsample2d"(%0) {kernel = [1, 1]} : (tensor<1x4xf32>) -> tensor<1x4xf32>
  return
}

// -----

func.func @upsample2d_adjoint(%0: tensor<1x4x6x5xf32>) {
  // expected-error@+1 {{'gradcam.upsample2d_adjoint' op the larger map must have shape 1x4x6x6, got 1x4x6x5}}
  %r = "gradcam.upsample2d_adjoint"(%0) {kernel = [2, 3]} : (tensor<1x4x6x5xf32>) -> tensor<1x4x3x2xf32>
  return
}

// -----

func.func @upsample2d_adjoint(%0: tensor<1x4xf32>) {
  // expected-error@+1 {{'gradcam.upsample2d_adjoint' op the larger map must have 4 dimensions, got tensor<1x4xf32>}}
  %r = "gradcam.upsample2d_adjoint"(%0) {kernel = [1, 1]} : (tensor<1x4xf32>) -> tensor<1x4x1x1xf32>
  return
}

// -----

func.func @adaptive_avg_pool2d(%0: tensor<1x4x6x6xf32>) {
  // expected-error@+1 {{'gradcam.adaptive_avg_pool2d' op operand and result must have equal channels, got tensor<1x4x6x6xf32> and tensor<1x5x4x7xf32>}}
  %r = "gradcam.adaptive_avg_pool2d"(%0) : (tensor<1x4x6x6xf32>) -> tensor<1x5x4x7xf32>
  return
}

// -----

func.func @adaptive_avg_pool2d_adjoint(%0: tensor<1x4xf32>) {
  // expected-error@+1 {{'gradcam.adaptive_avg_pool2d_adjoint' op operand must have 4 dimensions, got tensor<1x4xf32>}}
  %r = "gradcam.adaptive_avg_pool2d_adjoint"(%0) : (tensor<1x4xf32>) -> tensor<1x4x6x6xf32>
  return
}
