// A classifier of two convolutions, global average pooling and a linear layer; the feature map behind the second ReLU is
// explained. The locations are the module paths that gradcam-import would give.
func.func @main(%image: tensor<1x3x8x8xf32>, %class: tensor<1xi32>) -> (tensor<1x4xf32>, tensor<1x4x4xf32>) {
  %w1 = arith.constant dense<0.25> : tensor<8x3x3x3xf32>
  %w2 = arith.constant dense<-0.125> : tensor<16x8x3x3xf32>
  %fc = arith.constant dense<0.5> : tensor<4x16xf32>
  %x0 = "gradcam.conv2d"(%image, %w1) {stride = [1, 1], padding = [1, 1], dilation = [1, 1], groups = 1 : i64, operandSegmentSizes = array<i32: 1, 1, 0>} : (tensor<1x3x8x8xf32>, tensor<8x3x3x3xf32>) -> tensor<1x8x8x8xf32> loc("conv1")
  %x1 = "gradcam.relu"(%x0) : (tensor<1x8x8x8xf32>) -> tensor<1x8x8x8xf32> loc("relu1")
  %x2 = "gradcam.conv2d"(%x1, %w2) {stride = [2, 2], padding = [1, 1], dilation = [1, 1], groups = 1 : i64, operandSegmentSizes = array<i32: 1, 1, 0>} : (tensor<1x8x8x8xf32>, tensor<16x8x3x3xf32>) -> tensor<1x16x4x4xf32> loc("conv2")
  %x3 = "gradcam.relu"(%x2) : (tensor<1x16x4x4xf32>) -> tensor<1x16x4x4xf32> loc("relu2")
  %a = "gradcam.target"(%x3) {path = "relu2"} : (tensor<1x16x4x4xf32>) -> tensor<1x16x4x4xf32> loc("relu2")
  %pool = "gradcam.avg_pool2d"(%a) {kernel = [4, 4], stride = [4, 4], padding = [0, 0], dilation = [1, 1], count_include_pad = true} : (tensor<1x16x4x4xf32>) -> tensor<1x16x1x1xf32> loc("pool")
  %flat = "gradcam.flatten"(%pool) : (tensor<1x16x1x1xf32>) -> tensor<1x16xf32> loc("flatten")
  %logits = "gradcam.linear"(%flat, %fc) {operandSegmentSizes = array<i32: 1, 1, 0>} : (tensor<1x16xf32>, tensor<4x16xf32>) -> tensor<1x4xf32> loc("fc")
  %map = "gradcam.explain"(%logits, %a, %class) {method = "gradcam", relu = true, normalize = true, eps = 1.0e-7 : f64} : (tensor<1x4xf32>, tensor<1x16x4x4xf32>, tensor<1xi32>) -> tensor<1x4x4xf32> loc("explain")
  return %logits, %map : tensor<1x4xf32>, tensor<1x4x4xf32>
}
